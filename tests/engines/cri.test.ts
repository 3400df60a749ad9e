/** Pods by containerd's CRI and our shim, as a kubelet makes them: with TRIPOD_ENGINES_TODAY, where crictl is. */

import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { makePlace, processesOf } from "../support/engines.ts";
import { ociArchive } from "../support/oci-archive.ts";
import { type Outcome, eventually, tree } from "../support/tripod.ts";

const today = process.env["TRIPOD_ENGINES_TODAY"];

/** containerd's configuration, which every version reads. A score that can only be raised is one of this machine's limits. */
const configOf = (dir: string, socket: string): string => `version = 2
root = "${dir}/lib"
state = "${dir}/run"
[grpc]
  address = "${socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/tests/box:1"
  restrict_oom_score_adj = true
  disable_tcp_service = true
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${dir}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "tripod"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.tripod]
    runtime_type = "io.containerd.tripod.v2"
    pod_annotations = ["dev.tripod.*", "com.urunc.unikernel.*"]
    container_annotations = ["dev.tripod.*", "com.urunc.unikernel.*"]
`;

async function suite(t: TestContext, containerd: string): Promise<void> {
  const place = makePlace(t);
  const { dir, name } = place;
  const socket = join(dir, "c.sock");
  writeFileSync(join(dir, "config.toml"), configOf(dir, socket));
  mkdirSync(join(dir, "cni"));
  writeFileSync(
    join(dir, "cni/10-pods.conflist"),
    JSON.stringify({
      cniVersion: "0.4.0",
      name: "pods",
      plugins: [
        {
          type: "bridge",
          bridge: "pods0",
          isGateway: true,
          ipMasq: false,
          ipam: {
            type: "host-local",
            dataDir: join(dir, "leases"),
            ranges: [[{ subnet: "10.77.0.0/24" }]],
            routes: [{ dst: "0.0.0.0/0" }],
          },
        },
      ],
    }),
  );
  const root = join(dir, "tripod");
  const env = { PATH: `${join(tree, "bin")}:${today}:/usr/sbin:/usr/bin:/sbin:/bin`, TRIPOD_ROOT: root };
  const daemon = place.start(containerd, ["--config", join(dir, "config.toml")], { env });
  const ctr = (...argv: readonly string[]): Promise<Outcome> =>
    place.run("/usr/bin/ctr", ["--address", socket, "-n", "k8s.io", ...argv], { env });
  const crictl = (...argv: readonly string[]): Promise<Outcome> =>
    place.run(
      join(today ?? "", "crictl"),
      ["--runtime-endpoint", `unix://${socket}`, "--image-endpoint", `unix://${socket}`, ...argv],
      { env, timeoutMs: 40_000 },
    );
  const ok = async (...argv: readonly string[]): Promise<string> => {
    const outcome = await crictl(...argv);
    assert.equal(
      outcome.code,
      0,
      `crictl ${argv.join(" ")}: ${outcome.stderr}\n${readFileSync(daemon.log, "utf8").slice(-3000)}`,
    );
    return outcome.stdout.trim();
  };
  await eventually("containerd", async () => ((await crictl("version")).code === 0 ? true : undefined)).catch(
    async (error: unknown) => {
      const { stderr } = await crictl("version");
      throw new Error(`${stderr}\n${readFileSync(daemon.log, "utf8").slice(-3000)}`, { cause: error });
    },
  );
  for (const [image, cmd] of [
    ["box", ["sleep", "1000"]],
    ["guest", ["port=80"]],
  ] as const) {
    const archive = await ociArchive(dir, image, place.archives[image], cmd);
    assert.equal((await ctr("image", "import", archive)).code, 0);
  }
  const written = (file: string, content: object): string => {
    writeFileSync(join(dir, file), JSON.stringify(content));
    return join(dir, file);
  };
  const podConfig = (pod: string): string =>
    written(`${pod}.json`, {
      metadata: { name: pod, namespace: "tests", uid: `${pod}-${name}`, attempt: 0 },
      log_directory: join(dir, "logs", pod),
      linux: { cgroup_parent: `/${name}/${pod}` },
    });
  const podOf = async (pod: string): Promise<{ id: string; config: string; address: string }> => {
    const config = podConfig(pod);
    mkdirSync(join(dir, "logs", pod), { recursive: true });
    const id = await ok("runp", "--runtime", "tripod", config);
    const { status } = JSON.parse(await ok("inspectp", id)) as { status: { network: { ip: string } } };
    return { id, config, address: status.network.ip };
  };
  const containerIn = async (
    pod: { readonly id: string; readonly config: string },
    container: string,
    image: string,
    args: readonly string[],
  ): Promise<string> => {
    const config = written(`${container}.json`, {
      metadata: { name: container, attempt: 0 },
      image: { image: `docker.io/tests/${image}:1` },
      args,
      log_path: `${container}.log`,
      linux: { resources: { memory_limit_in_bytes: 64 << 20 } },
    });
    const id = await ok("create", "--no-pull", pod.id, config, pod.config);
    await ok("start", id);
    return id;
  };
  const stateOf = async (id: string): Promise<{ state: string; exitCode: number }> =>
    (JSON.parse(await ok("inspect", id)) as { status: { state: string; exitCode: number } }).status;
  const until = (id: string, state: string): Promise<true> =>
    eventually(`${id} ${state}`, async () => ((await stateOf(id)).state === state ? true : undefined));
  const remove = async (...pods: readonly string[]): Promise<void> => {
    for (const pod of pods) {
      await ok("stopp", pod);
      await ok("rmp", pod);
    }
  };

  await t.test("a pod of containers: logs, exec, stats, update, an end with a status", async () => {
    const pod = await podOf("boxes");
    const id = await containerIn(pod, "box", "box", ["sh", "-c", "echo said; sleep 1000"]);
    await until(id, "CONTAINER_RUNNING");
    await eventually("logs", async () => ((await ok("logs", id)) === "said" ? true : undefined));
    assert.equal(await ok("exec", "-s", id, "echo", "here"), "here");
    const failed = await crictl("exec", "-s", id, "sh", "-c", "exit 4");
    assert.notEqual(failed.code, 0);
    assert.match(failed.stderr, /4/);
    assert.match(await ok("stats", "-a"), new RegExp(id.slice(0, 13)));
    await ok("update", "--memory", String(96 << 20), id);
    const ending = await containerIn(pod, "ending", "box", ["sh", "-c", "exit 5"]);
    await until(ending, "CONTAINER_EXITED");
    assert.equal((await stateOf(ending)).exitCode, 5);
    await ok("stop", "--timeout", "1", id);
    await until(id, "CONTAINER_EXITED");
    await remove(pod.id);
  });

  await t.test("a pod of a unikernel: it has the pod's address, logs, stats, a refused exec", async () => {
    const pod = await podOf("guests");
    const id = await containerIn(pod, "guest", "guest", ["port=80"]);
    await until(id, "CONTAINER_RUNNING");
    assert.match(await place.get(`http://${pod.address}/`), /monitor: spt/);
    assert.match(await ok("logs", id), /httpreply: unikernel on spt/);
    assert.match(await ok("stats", "-a"), new RegExp(id.slice(0, 13)));
    const exec = await crictl("exec", "-s", id, "echo", "here");
    assert.notEqual(exec.code, 0);
    assert.match(exec.stderr, /is a unikernel, which has no processes/);
    await ok("stop", "--timeout", "2", id);
    await until(id, "CONTAINER_EXITED");
    await remove(pod.id);
  });

  await t.test("a guest beside a container of its pod leaves it its network", async () => {
    const pod = await podOf("mixed");
    const box = await containerIn(pod, "sidecar", "box", ["sleep", "1000"]);
    const guest = await containerIn(pod, "beside", "guest", ["port=80"]);
    await until(guest, "CONTAINER_RUNNING");
    assert.match(await ok("exec", "-s", box, "busybox", "ip", "-4", "addr", "show", "eth0"), /10\.77\.0\./);
    await remove(pod.id);
  });

  for (const { pid } of processesOf(root).filter(({ argv }) => argv.includes("--idle")))
    process.kill(pid, "SIGTERM");
}

const hasCrictl = today !== undefined && existsSync(join(today, "crictl"));

test("pods by Debian's containerd", { timeout: 200_000 }, async (t) => {
  if (!hasCrictl) return t.skip("--today is not given");
  await suite(t, "/usr/bin/containerd");
});

test("pods by containerd of today", { timeout: 200_000 }, async (t) => {
  if (!hasCrictl) return t.skip("--today is not given");
  await suite(t, join(today ?? "", "containerd"));
});
