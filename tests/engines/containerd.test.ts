/** Debian's containerd (1.6) with its stock runc shim, whose BinaryName is ours; with TRIPOD_ENGINES_TODAY also today's. */

import assert from "node:assert/strict";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { hasPrograms, makePlace } from "../support/engines.ts";
import { ociArchive } from "../support/oci-archive.ts";
import { requires } from "../support/requires.ts";
import { runtimeProgram } from "../support/runtime.ts";
import { type Outcome, eventually } from "../support/tripod.ts";

async function suite(t: TestContext, programs: string): Promise<void> {
  const place = makePlace(t);
  const { dir, name } = place;
  const socket = join(dir, "c.sock");
  writeFileSync(
    join(dir, "config.toml"),
    `version = 2\nroot = "${dir}/lib"\nstate = "${dir}/run"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\n  address = "${socket}"\n`,
  );
  // The shim calls with a root of its own, and hands no other arguments on.
  const runtime = join(dir, "tripod-runtime");
  writeFileSync(runtime, `#!/bin/sh\nexec ${runtimeProgram} --tripod-root=${dir}/tripod "$@"\n`, {
    mode: 0o755,
  });
  const env = { PATH: `${programs}:/usr/sbin:/usr/bin:/sbin:/bin` };
  const start = (): ReturnType<typeof place.start> =>
    place.start(join(programs, "containerd"), ["--config", join(dir, "config.toml")], { env });
  const ctr = (...argv: readonly string[]): Promise<Outcome> =>
    place.run(join(programs, "ctr"), ["--address", socket, "-n", "tests", ...argv], { env });
  const run = (
    flags: readonly string[],
    image: string,
    id: string,
    ...argv: readonly string[]
  ): Promise<Outcome> =>
    ctr(
      "run",
      "--runc-binary",
      runtime,
      "--cgroup",
      `/${name}/${id}`,
      ...flags,
      `docker.io/tests/${image}:1`,
      id,
      ...argv,
    );
  const ready = (): Promise<true> =>
    eventually("containerd", async () => ((await ctr("version")).code === 0 ? true : undefined));
  const ok = async (...argv: readonly string[]): Promise<string> => {
    const outcome = await ctr(...argv);
    assert.equal(outcome.code, 0, `ctr ${argv.join(" ")}: ${outcome.stderr}`);
    return outcome.stdout;
  };
  const statusOf = async (id: string): Promise<string> =>
    (await ok("task", "ls"))
      .split("\n")
      .find((line) => line.startsWith(`${id} `))
      ?.trim()
      .split(/\s+/)[2] ?? "";
  const until = (id: string, status: string): Promise<true> =>
    eventually(`${id} ${status}`, async () => ((await statusOf(id)) === status ? true : undefined));

  let daemon = start();
  await ready();
  for (const [image, cmd] of [
    ["box", ["sleep", "1000"]],
    ["guest", ["port=80"]],
  ] as const) {
    const file = await ociArchive(dir, image, place.archives[image], cmd);
    await ok("image", "import", file);
  }

  await t.test("statuses and output in the foreground", async () => {
    const box = await run(["--rm"], "box", "front-box", "sh", "-c", "echo out; exit 7");
    assert.equal(box.code, 7, box.stderr);
    assert.equal(box.stdout, "out\n");
    const guest = await run(["--rm"], "guest", "front-guest", "exit=9");
    assert.equal(guest.code, 9, guest.stderr);
  });

  for (const image of ["box", "guest"] as const)
    await t.test(
      `a detached ${image}: processes, metrics, pause, exec, restart of containerd, an end by a signal`,
      async () => {
        assert.equal((await run(["-d"], image, image)).code, 0);
        await until(image, "RUNNING");
        assert.match(await ok("task", "ps", image), /\d+/);
        assert.match(await ok("task", "metrics", image), /memory/);
        await ok("task", "pause", image);
        assert.equal(await statusOf(image), "PAUSED");
        await ok("task", "resume", image);
        const exec = await ctr("task", "exec", "--exec-id", "one", image, "echo", "here");
        if (image === "box") assert.equal(exec.stdout, "here\n");
        else {
          assert.notEqual(exec.code, 0);
          assert.match(exec.stderr, /is a unikernel, which has no processes/);
        }
        await daemon.stop();
        daemon = start();
        await ready();
        assert.equal(await statusOf(image), "RUNNING");
        await ok("task", "kill", "-s", "SIGKILL", image);
        await until(image, "STOPPED");
        const gone = await ctr("task", "rm", image);
        assert.match(`${gone.code} ${gone.stderr}`, /^0|137/);
        await ok("container", "rm", image);
      },
    );

  await t.test("what cannot be had is refused in our words, and nothing stays", async () => {
    const refused = await run(["--rm", "--net-host"], "guest", "host-guest");
    assert.notEqual(refused.code, 0);
    assert.match(refused.stderr, /the host's own network/);
    assert.equal((await ok("task", "ls", "-q")).trim(), "");
  });
}

test("Debian's containerd runs containers and unikernels by the stock shim", async (t) => {
  if (!requires(t, "containerd", hasPrograms("containerd", "ctr", "containerd-shim-runc-v2"))) return;
  await suite(t, "/usr/bin");
});

test("containerd of today runs containers and unikernels by the stock shim", async (t) => {
  const today = process.env["TRIPOD_ENGINES_TODAY"];
  if (today === undefined || !existsSync(join(today, "containerd"))) return t.skip("--today is not given");
  await suite(t, today);
});
