/** What a user of docker and podman does, whose command lines are one: the same for both engines, with a container's image and a unikernel's. */

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import type { Place, PlaceOptions } from "../support/engines.ts";
import { type Outcome, eventually } from "../support/tripod.ts";

export interface Engine {
  readonly place: Place;
  /** `docker ARGV` or `podman ARGV`. */
  cli(argv: readonly string[], options?: PlaceOptions): Promise<Outcome>;
  /** Arguments of every `run`. */
  readonly runFlags: readonly string[];
  /** Whether it sees the monitor by `top`: podman looks at all of a process's mount namespace. */
  readonly topIsExact: boolean;
  /** Whether the engine runs health checks by itself. */
  readonly checksHealth: boolean;
}

const images = ["box", "guest"] as const;
type Image = (typeof images)[number];

export async function battery(t: TestContext, engine: Engine): Promise<void> {
  const { place } = engine;
  const ok = async (argv: readonly string[], options?: PlaceOptions): Promise<string> => {
    const outcome = await engine.cli(argv, options);
    assert.equal(outcome.code, 0, `${argv.join(" ")}: ${outcome.stderr}`);
    return outcome.stdout;
  };
  const run = (argv: readonly string[], options?: PlaceOptions): Promise<Outcome> =>
    engine.cli(["run", ...engine.runFlags, ...argv], options);
  const detached = async (name: string, argv: readonly string[]): Promise<void> => {
    const outcome = await run(["-d", "--name", name, ...argv]);
    assert.equal(outcome.code, 0, outcome.stderr);
  };
  const state = async (name: string, field: string): Promise<string> =>
    (await ok(["inspect", "-f", `{{.State.${field}}}`, name])).trim();
  const until = (name: string, status: string): Promise<true> =>
    eventually(`${name} ${status}`, async () =>
      (await state(name, "Status")) === status ? true : undefined,
    );
  /** A program that runs until it is ended. */
  const lasting: Readonly<Record<Image, readonly string[]>> = {
    box: ["box", "sh", "-c", "echo listening; trap 'exit 3' TERM; while :; do sleep 0.1; done"],
    guest: ["guest"],
  };
  const inform = (image: Image): string => (image === "box" ? "container" : "unikernel");

  for (const image of images)
    await ok([
      "import",
      "-c",
      `CMD ["${image === "box" ? "/httpreply" : "port=80"}"]`,
      place.archives[image],
      image,
    ]);

  await t.test("in the foreground the status is the program's own, and the guest's", async () => {
    assert.equal((await run(["--rm", "box", "sh", "-c", "echo out; echo err >&2; exit 7"])).code, 7);
    const guest = await run(["--rm", "guest", "exit=9"]);
    assert.equal(guest.code, 9, guest.stderr);
    assert.match(guest.stdout, /unikernel on spt/);
  });

  for (const image of images)
    await t.test(`a ${inform(image)} detached: logs, stats, top, pause, and an end by a signal`, async () => {
      const name = `long-${image}`;
      await detached(name, ["-m", "64m", "--cpus", "0.5", ...lasting[image]]);
      await eventually("its log", async () =>
        /listening/.test(await ok(["logs", name])) ? true : undefined,
      );
      assert.match(await ok(["ps"]), new RegExp(name));
      const stats = await ok(["stats", "--no-stream", "--format", "{{.MemUsage}}", name]);
      // Docker counts in MiB and what the monitor's own takes on top, podman in MB and what was asked for.
      assert.match(stats, image === "box" ? /\/ (64MiB|67\.11MB)/ : /\/ (72\.\d*MiB|6\d\.\d+MB|7\d\.\d+MB)/);
      if (image === "box" || engine.topIsExact)
        assert.match(await ok(["top", name]), image === "box" ? /sh -c/ : /tripod-tender/);
      await ok(["pause", name]);
      assert.equal(await state(name, "Status"), "paused");
      await ok(["unpause", name]);
      assert.equal(await state(name, "Status"), "running");
      await ok(["kill", "-s", "KILL", name]);
      await until(name, "exited");
      assert.equal(await state(name, "ExitCode"), "137");
      await ok(["start", name]);
      assert.equal(await state(name, "Status"), "running");
      await ok(["restart", "-t", "5", name]);
      assert.equal(await state(name, "Status"), "running");
      await eventually("its trap", async () =>
        (await ok(["logs", name])).match(/listening/g)?.length === 3 ? true : undefined,
      );
      await ok(["stop", "-t", "5", name]);
      await until(name, "exited");
      assert.match(await state(name, "ExitCode"), image === "box" ? /^3$/ : /^(0|143)$/);
      await ok(["rm", name]);
    });

  await t.test("exec works in a container, and is refused for a unikernel at once, in words", async () => {
    await detached("exec-box", lasting.box);
    await detached("exec-guest", lasting.guest);
    assert.equal(await ok(["exec", "exec-box", "echo", "here"]), "here\n");
    assert.equal((await engine.cli(["exec", "exec-box", "sh", "-c", "exit 5"])).code, 5);
    assert.equal(await ok(["exec", "-i", "exec-box", "cat"], { input: "typed" }), "typed");
    const refused = await engine.cli(["exec", "exec-guest", "true"], { timeoutMs: 5000 });
    assert.equal(refused.code, 126);
    assert.match(`${refused.stdout}${refused.stderr}`, /is a unikernel, which has no processes/);
    await ok(["rm", "-f", "exec-box", "exec-guest"]);
  });

  await t.test("stdin reaches a container and a terminal is one", async () => {
    assert.equal((await run(["--rm", "-i", "box", "cat"], { input: "typed\n" })).stdout, "typed\n");
    assert.match((await run(["--rm", "-t", "box", "tty"])).stdout, /^\/dev\/(pts\/0|console)/);
    const guest = await run(["--rm", "-t", "guest", "exit=0"]);
    assert.equal(guest.code, 0, guest.stderr);
    assert.match(guest.stdout, /unikernel on spt.*\r\n/);
    assert.equal((await run(["--rm", "-i", "guest", "exit=0"], { input: "nobody reads it\n" })).code, 0);
  });

  for (const image of images)
    await t.test(`a published port of a ${inform(image)} answers`, async () => {
      const name = `port-${image}`;
      await detached(name, ["-p", "18080:80", image]);
      assert.match(await place.get("http://127.0.0.1:18080/"), new RegExp(`mode: ${inform(image)}`));
      const address = (await ok(["inspect", "-f", "{{.NetworkSettings.IPAddress}}", name])).trim();
      assert.match(await place.get(`http://${address}/healthz`), /ok/);
      await ok(["rm", "-f", name]);
    });

  await t.test("without a network both run", async () => {
    assert.equal((await run(["--rm", "--network", "none", "box", "sh", "-c", "exit 6"])).code, 6);
    assert.equal((await run(["--rm", "--network", "none", "guest", "exit=6"])).code, 6);
  });

  await t.test("a restart policy starts both again, as often as it says", async () => {
    await detached("again-box", ["--restart", "on-failure:2", "box", "sh", "-c", "exit 4"]);
    await detached("again-guest", ["--restart", "on-failure:2", "guest", "exit=5"]);
    for (const [name, code] of [
      ["again-box", "4"],
      ["again-guest", "5"],
    ] as const) {
      await eventually(`${name} tried thrice`, async () =>
        (await ok(["inspect", "-f", "{{.RestartCount}} {{.State.Status}}", name])).trim() === "2 exited"
          ? true
          : undefined,
      );
      assert.equal(await state(name, "ExitCode"), code);
      await ok(["rm", name]);
    }
  });

  await t.test(
    "a health check passes in a container, and says of a unikernel that it is unhealthy",
    async () => {
      const check = ["--health-cmd", "true", "--health-interval", "1s", "--health-retries", "1"];
      await detached("health-box", [...check, ...lasting.box]);
      await detached("health-guest", [...check, ...lasting.guest]);
      const healthOf = async (name: string): Promise<string> => {
        if (!engine.checksHealth) {
          const { code } = await engine.cli(["healthcheck", "run", name], { timeoutMs: 10_000 });
          return code === 0 ? "healthy" : "unhealthy";
        }
        return (await ok(["inspect", "-f", "{{.State.Health.Status}}", name])).trim();
      };
      for (const [name, health] of [
        ["health-box", "healthy"],
        ["health-guest", "unhealthy"],
      ] as const)
        await eventually(`${name} ${health}`, async () =>
          (await healthOf(name)) === health ? true : undefined,
        );
      assert.equal(await state("health-guest", "Status"), "running");
      await ok(["rm", "-f", "health-box", "health-guest"]);
    },
  );

  await t.test(
    "a container has its volumes and limits; more memory than it was given cannot be taken from a guest",
    async () => {
      writeFileSync(join(place.dir, "kept"), "kept\n");
      const read = await run(["--rm", "-v", `${place.dir}/kept:/etc/kept:ro`, "box", "cat", "/etc/kept"]);
      assert.equal(read.stdout, "kept\n");
      if (!engine.topIsExact) return;
      await detached("less", ["-m", "64m", ...lasting.guest]);
      const refused = await engine.cli(["update", "-m", "32m", "less"]);
      assert.notEqual(refused.code, 0);
      assert.match(refused.stderr, /the guest was given 64Mi/);
      await ok(["update", "-m", "128m", "--memory-swap", "128m", "less"]);
      assert.match(await ok(["stats", "--no-stream", "--format", "{{.MemUsage}}", "less"]), /\/ 136\.\d*MiB/);
      await ok(["rm", "-f", "less"]);
    },
  );

  await t.test("what no guest can have is refused with the reason, and leaves no container", async () => {
    const refused = await run(["--rm", "--network", "host", "guest"]);
    assert.match(`${refused.code}`, /^12[567]$/);
    assert.match(refused.stderr, /the host's own network/);
    assert.equal((await ok(["ps", "-a", "-q"])).trim(), "");
  });
}
