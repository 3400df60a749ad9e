/** One dockerd on `tripod-runtime`, whichever it is. */

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { makePlace } from "../support/engines.ts";
import { runtimeProgram } from "../support/runtime.ts";
import { eventually } from "../support/tripod.ts";
import { battery } from "./battery.ts";

export interface Docker {
  readonly dockerd: string;
  /** Where dockerd finds its containerd and shim, before the machine's. */
  readonly path?: string;
}

export async function dockerSuite(t: TestContext, { dockerd, path }: Docker): Promise<void> {
  // With live-restore it leaves these to its next start.
  const place = makePlace(t, ["data", "exec/netns/default"]);
  const { dir, name } = place;
  const socket = join(dir, "docker.sock");
  writeFileSync(
    join(dir, "daemon.json"),
    JSON.stringify({
      runtimes: { tripod: { path: runtimeProgram, runtimeArgs: [`--tripod-root=${dir}/tripod`] } },
      "default-runtime": "tripod",
      "cgroup-parent": `/${name}`,
      "userland-proxy": false,
      "live-restore": true,
      "storage-driver": "vfs",
      "data-root": join(dir, "data"),
      "exec-root": join(dir, "exec"),
      pidfile: join(dir, "docker.pid"),
      hosts: [`unix://${socket}`],
    }),
  );
  const env = path === undefined ? {} : { PATH: `${path}:/usr/sbin:/usr/bin:/sbin:/bin` };
  const start = (): ReturnType<typeof place.start> =>
    place.start(dockerd, ["--config-file", join(dir, "daemon.json")], { env });
  const cli: Parameters<typeof battery>[1]["cli"] = (argv, options = {}) =>
    place.run("docker", ["-H", `unix://${socket}`, ...argv], { ...options, env: { DOCKER_CONFIG: dir } });
  const ready = (): Promise<true> =>
    eventually("dockerd", async () => ((await cli(["version"])).code === 0 ? true : undefined), 30_000);

  let daemon = start();
  t.after(async () => {
    const all = (await cli(["ps", "-aq"])).stdout.split("\n").filter((id) => id !== "");
    if (all.length > 0) await cli(["rm", "-f", ...all]);
    await daemon.stop();
  });
  await ready();
  await battery(t, { place, cli, runFlags: [], topIsExact: true, checksHealth: true });

  await t.test("a unikernel and a container outlive dockerd, which finds them again", async () => {
    for (const argv of [
      ["--name", "kept-guest", "-p", "18081:80", "guest"],
      ["--name", "kept-box", "box", "sleep", "1000"],
    ])
      assert.equal((await cli(["run", "-d", ...argv])).code, 0);
    await place.get("http://127.0.0.1:18081/");
    await daemon.stop();
    assert.match(await place.get("http://127.0.0.1:18081/healthz"), /ok/);
    daemon = start();
    await ready();
    assert.equal((await cli(["ps", "-q"])).stdout.trim().split("\n").length, 2);
    assert.match((await cli(["logs", "kept-guest"])).stdout, /unikernel on spt/);
    for (const kept of ["kept-guest", "kept-box"]) {
      await cli(["kill", kept]);
      const { stdout } = await cli(["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", kept]);
      assert.equal(stdout.trim(), "exited 137", kept);
      assert.equal((await cli(["rm", kept])).code, 0);
    }
  });
}
