/** Debian's containerd (1.6) with our own shim and tripodd; with TRIPOD_ENGINES_TODAY also today's. */

import assert from "node:assert/strict";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { hasPrograms, makePlace, processesOf } from "../support/engines.ts";
import { ociArchive } from "../support/oci-archive.ts";
import { requires } from "../support/requires.ts";
import { type Outcome, eventually, readdirSafe, tree } from "../support/tripod.ts";

async function suite(t: TestContext, programs: string): Promise<void> {
  const place = makePlace(t);
  const { dir, name } = place;
  const socket = join(dir, "c.sock");
  writeFileSync(
    join(dir, "config.toml"),
    `version = 2\nroot = "${dir}/lib"\nstate = "${dir}/run"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\n  address = "${socket}"\n`,
  );
  const root = join(dir, "tripod");
  const env = { PATH: `${join(tree, "bin")}:${programs}:/usr/sbin:/usr/bin:/sbin:/bin`, TRIPOD_ROOT: root };
  const startContainerd = (): ReturnType<typeof place.start> =>
    place.start(join(programs, "containerd"), ["--config", join(dir, "config.toml")], { env });
  /** The daemon that was started on demand. */
  const tripodd = (): number => {
    const [one, ...more] = processesOf(root).filter(({ argv }) => argv.includes("--idle"));
    assert.equal(more.length, 0, "one daemon");
    return one?.pid ?? 0;
  };
  const ctr = (...argv: readonly string[]): Promise<Outcome> =>
    place.run(join(programs, "ctr"), ["--address", socket, "-n", "tests", ...argv], {
      env,
      timeoutMs: 30_000,
    });
  const run = (
    flags: readonly string[],
    image: string,
    id: string,
    ...argv: readonly string[]
  ): Promise<Outcome> =>
    ctr(
      "run",
      "--runtime",
      "io.containerd.tripod.v2",
      "--cgroup",
      `/${name}/${id}`,
      ...flags,
      `docker.io/tests/${image}:1`,
      id,
      ...argv,
    );
  const ok = async (...argv: readonly string[]): Promise<string> => {
    const outcome = await ctr(...argv);
    assert.equal(outcome.code, 0, `ctr ${argv.join(" ")}: ${outcome.stderr}`);
    return outcome.stdout;
  };
  const ready = (): Promise<true> =>
    eventually("containerd", async () => ((await ctr("version")).code === 0 ? true : undefined));
  const statusOf = async (id: string): Promise<string> =>
    (await ok("task", "ls"))
      .split("\n")
      .find((line) => line.startsWith(`${id} `))
      ?.trim()
      .split(/\s+/)[2] ?? "";
  const until = (id: string, status: string): Promise<true> =>
    eventually(`${id} ${status}`, async () => ((await statusOf(id)) === status ? true : undefined));

  let containerd = startContainerd();
  await ready();
  for (const [image, cmd] of [
    ["box", ["sleep", "1000"]],
    ["guest", ["port=80"]],
  ] as const) {
    const file = await ociArchive(dir, image, place.archives[image], cmd);
    await ok("image", "import", file);
  }

  await t.test("statuses and output in the foreground", async () => {
    const box = await run(["--rm"], "box", "front-box", "sh", "-c", "echo out; echo err >&2; exit 7");
    assert.equal(box.code, 7, box.stderr);
    assert.equal(box.stdout, "out\n");
    assert.match(box.stderr, /^err$/m);
    const guest = await run(["--rm"], "guest", "front-guest", "exit=9");
    assert.equal(guest.code, 9, guest.stderr);
    assert.match(guest.stdout, /httpreply: unikernel on spt/);
  });

  await t.test("input to its end, a terminal, and much output", async () => {
    const echo = await place.run(
      "sh",
      [
        "-c",
        `echo typed | ctr --address ${socket} -n tests run --rm --runtime io.containerd.tripod.v2 docker.io/tests/box:1 in-box cat`,
      ],
      { env, timeoutMs: 30_000 },
    );
    assert.equal(echo.stdout, "typed\n", echo.stderr);
    const much = await run(["--rm"], "box", "much-box", "sh", "-c", "yes 0123456789 | head -c 20000000");
    assert.equal(much.stdout.length, 20_000_000, much.stderr);
    const missing = await run(["--rm"], "box", "no-box", "/no/such/program");
    assert.notEqual(missing.code, 0);
    assert.match(missing.stderr, /no such file|not found/);
  });

  for (const image of ["box", "guest"] as const)
    await t.test(
      `a detached ${image}: pause, restart of containerd, kill -9 of tripodd, an end by a signal`,
      async () => {
        assert.equal((await run(["-d"], image, image)).code, 0);
        await until(image, "RUNNING");
        assert.match(await ok("task", "ps", image), /\d+/);
        assert.match(await ok("task", "metrics", image), /memory/);
        await ok("task", "pause", image);
        assert.equal(await statusOf(image), "PAUSED");
        await ok("task", "resume", image);
        const exec = await ctr("task", "exec", "--exec-id", "one", image, "sh", "-c", "echo here; exit 3");
        if (image === "box") {
          assert.deepEqual([exec.stdout, exec.code], ["here\n", 3], exec.stderr);
          const missing = await ctr("task", "exec", "--exec-id", "one", image, "/no/such");
          assert.match(missing.stderr, /no such file/);
          const again = await ctr("task", "exec", "--exec-id", "one", image, "echo", "again");
          assert.equal(again.stdout, "again\n", again.stderr);
        } else {
          assert.notEqual(exec.code, 0);
          assert.match(exec.stderr, /is a unikernel, which has no processes/);
        }
        await containerd.stop();
        containerd = startContainerd();
        await ready();
        assert.equal(await statusOf(image), "RUNNING");
        const before = tripodd();
        process.kill(before, "SIGKILL");
        assert.equal(await statusOf(image), "RUNNING");
        assert.notEqual(tripodd(), before);
        await ok("task", "kill", "-s", "SIGKILL", image);
        await until(image, "STOPPED");
        const gone = await ctr("task", "rm", image);
        assert.match(`${gone.code} ${gone.stderr}`, /^0|137/);
        await ok("container", "rm", image);
      },
    );

  await t.test(
    "a daemon that is asked to end leaves its tasks alone, and another takes them up",
    async () => {
      assert.equal((await run(["-d"], "guest", "kept")).code, 0);
      const before = tripodd();
      process.kill(before, "SIGTERM");
      await eventually("the end", () => (tripodd() === before ? undefined : true));
      await ok("task", "kill", "-s", "SIGKILL", "kept");
      await until("kept", "STOPPED");
      await ctr("task", "rm", "kept");
      await ok("container", "rm", "kept");
    },
  );

  await t.test("tripodd is killed again and again while tasks are made, and each is made once", async () => {
    const names = Array.from({ length: 16 }, (_, index) => `many-${index}`);
    const killed = new Set<number>();
    // Each daemon lives long enough to begin, and not to end, what it is asked.
    const killer = setInterval(() => {
      const pid = processesOf(root).find(({ argv }) => argv.includes("--idle"))?.pid;
      if (pid === undefined || killed.has(pid) || killed.size === 4) return;
      killed.add(pid);
      setTimeout(
        () => {
          try {
            process.kill(pid, "SIGKILL");
          } catch {
            // It had gone.
          }
        },
        killed.size === 1 ? 30 : 260 + 40 * killed.size,
      );
    }, 5);
    try {
      const made = await Promise.all(
        names.map((id, index) => run(["-d"], index % 2 === 0 ? "box" : "guest", id)),
      );
      for (const { code, stderr } of made) assert.equal(code, 0, stderr);
    } finally {
      clearInterval(killer);
    }
    t.diagnostic(`killed ${killed.size} times`);
    for (const id of names) assert.equal(await statusOf(id), "RUNNING", id);
    for (const id of names) await ok("task", "kill", "-s", "SIGKILL", id);
    for (const id of names) {
      await until(id, "STOPPED");
      await ctr("task", "rm", id);
      await ok("container", "rm", id);
    }
  });

  await t.test("kill -9 of a warden takes its own task and no other", async () => {
    for (const image of ["box", "guest"]) assert.equal((await run(["-d"], image, `w-${image}`)).code, 0);
    assert.equal((await run(["-d"], "guest", "other")).code, 0);
    for (const image of ["box", "guest"]) {
      const [warden] = processesOf(root).filter(({ argv }) => argv.includes(`/tasks/tests/w-${image} `));
      assert.ok(warden !== undefined);
      process.kill(warden.pid, "SIGKILL");
      // containerd forgets a task whose shim it cannot reach.
      await eventually("the end", async () =>
        (await statusOf(`w-${image}`)) === "RUNNING" ? undefined : true,
      );
      await ctr("task", "rm", "-f", `w-${image}`);
      await ok("container", "rm", `w-${image}`);
    }
    assert.equal(await statusOf("other"), "RUNNING");
    await ok("task", "kill", "-s", "SIGKILL", "other");
    await until("other", "STOPPED");
    await ctr("task", "rm", "other");
    await ok("container", "rm", "other");
    assert.deepEqual(readdirSafe(join(root, "run/tasks/tests")), []);
    assert.deepEqual(readdirSafe(join(root, "run/s")), []);
  });

  await t.test("what cannot be had is refused in our words, and nothing stays", async () => {
    const refused = await run(["--rm", "--net-host"], "guest", "host-guest");
    assert.notEqual(refused.code, 0);
    assert.match(refused.stderr, /the host's own network/);
    assert.equal((await ok("task", "ls", "-q")).trim(), "");
    process.kill(tripodd(), "SIGTERM");
  });
}

test("Debian's containerd runs containers and unikernels by our shim", async (t) => {
  if (!requires(t, "containerd", hasPrograms("containerd", "ctr"))) return;
  await suite(t, "/usr/bin");
});

test("containerd of today runs containers and unikernels by our shim", async (t) => {
  const today = process.env["TRIPOD_ENGINES_TODAY"];
  if (today === undefined || !existsSync(join(today, "containerd"))) return t.skip("--today is not given");
  await suite(t, today);
});
