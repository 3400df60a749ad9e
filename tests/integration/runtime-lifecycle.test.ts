/** `tripod-runtime` by itself: no engine, real bundles, real guests. What an engine reads (state, pid file, statuses, hooks, cgroups) and what is left when it fails. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  type Config,
  type RuntimeLab,
  annotations,
  assertNothingStands,
  cgroupsBeneath,
  inCgroup,
  makeRuntimeLab,
  processesOf,
  runtime,
  standing,
} from "../support/bundles.ts";
import { eventually, outcomeOf, runToEnd } from "../support/tripod.ts";

const statusIs = (lab: RuntimeLab, id: string, status: string): Promise<true> =>
  eventually(`${id} is ${status}`, async () => ((await lab.state(id)).status === status ? true : undefined));

const withArgs =
  (...args: string[]) =>
  (config: Config): void => {
    config["process"] = { ...(config["process"] as object), args };
  };

const both =
  (...changes: ((config: Config) => void)[]) =>
  (config: Config): void => {
    for (const change of changes) change(config);
  };

/** `$?`-like status of a process whose parent is gone: a reaper of orphans between us and the runtime, as conmon and containerd's shim are. */
const reaper = `
my ($pidfile, @command) = @ARGV;
my $prctl = { x86_64 => 157, aarch64 => 167 }->{(split ' ', qx(uname -m))[0]};
syscall($prctl, 36, 1, 0, 0, 0) == 0 or die "no subreaper: $!";
my @verbs = (["create"], ["start"]);
my $ours = fork // die;
if (!$ours) { exec @command or die }
waitpid($ours, 0); $? == 0 or die "create failed";
open my $file, "<", $pidfile or die; my $pid = <$file>;
print "created\\n"; $| = 1;
waitpid($pid, 0) == $pid or die "pid $pid is no descendant: $!";
print "ended ", ($? & 127) ? "signal " . ($? & 127) : "status " . ($? >> 8), "\\n";
`;

test("a sandbox goes from created to running, paused, running and stopped, as state tells it", async (t) => {
  const lab = makeRuntimeLab(t);
  const pidFile = join(lab.dir, "pid");
  const bundle = lab.unikernel(inCgroup(lab, "box"));
  await lab.create("box", bundle, "--pid-file", pidFile);
  const created = await lab.state("box");
  assert.equal(created.status, "created");
  assert.equal(created.ociVersion, "1.0.2");
  assert.equal(created.bundle, bundle);
  assert.equal(created.rootfs, join(bundle, "rootfs"));
  assert.equal(created.annotations["dev.tripod.guest"], "solo5");
  assert.match(created.created, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  assert.equal(readFileSync(pidFile, "utf8"), String(created.pid), "the pid file names the warden");
  assert.equal(lab.output("box"), "", "nothing of the guest has run");
  const refused = async (argv: readonly string[], why: RegExp, code = 1): Promise<void> => {
    const outcome = await lab.run(argv, { name: "refused" });
    assert.equal(outcome.code, code, argv.join(" "));
    assert.match(outcome.stderr, why);
  };
  await refused(["pause", "box"], /not running/);
  await refused(["create", "--bundle", bundle, "box"], /container with given ID already exists: box/);
  await refused(["exec", "box", "sh"], /cannot exec in a created container/, 126);
  await lab.ok(["start", "box"]);
  assert.equal((await lab.state("box")).status, "running");
  assert.equal((await lab.state("box")).pid, created.pid);
  await eventually("the guest speaks", () => (/listening on/.test(lab.output("box")) ? true : undefined));
  await refused(["start", "box"], /cannot start an already running container/);
  await refused(["delete", "box"], /cannot delete container box that is not stopped: running/);
  await refused(["exec", "box", "sh"], /exec failed: permission denied: box is a unikernel/, 126);
  await refused(["checkpoint", "box"], /checkpoint is not supported: box is a unikernel/);
  await refused(["resume", "box"], /not paused/);
  const pids: unknown = JSON.parse(await lab.ok(["ps", "--format", "json", "box"]));
  assert.ok(Array.isArray(pids) && pids.length === 2 && pids[0] === created.pid);
  assert.match(await lab.ok(["ps", "box"]), /^UID +PID[\s\S]*tripod-warden[\s\S]*tripod-tender/);
  await lab.ok(["pause", "box"]);
  assert.equal((await lab.state("box")).status, "paused");
  await refused(["exec", "box", "sh"], /cannot exec in a paused container/, 126);
  await lab.ok(["resume", "box"]);
  assert.equal((await lab.state("box")).status, "running");
  await refused(["kill", "box", "NOPE"], /unknown signal "NOPE"/);
  await lab.ok(["kill", "box"]);
  await statusIs(lab, "box", "stopped");
  assert.equal((await lab.state("box")).pid, 0);
  await refused(["kill", "box", "9"], /container not running/);
  await lab.ok(["kill", "--all", "box", "9"]);
  await refused(["start", "box"], /cannot start a container that has stopped/);
  await lab.ok(["delete", "box"]);
  await refused(["state", "box"], /container does not exist: box/);
  await refused(["delete", "box"], /container does not exist/);
  await lab.ok(["delete", "--force", "box"]);
  await assertNothingStands(lab, "by a whole life");
});

test("the process of the pid file ends as the guest did, for whoever reaps orphans", async (t) => {
  const lab = makeRuntimeLab(t);
  const pidFile = join(lab.dir, "pid");
  const live = async (id: string, args: string[], end: () => Promise<unknown>): Promise<string> => {
    const bundle = lab.unikernel(withArgs(...args));
    const create = [runtime, ...lab.globals, "create", "--bundle", bundle, "--pid-file", pidFile, id];
    const child = spawn("perl", ["-e", reaper, pidFile, ...create], { stdio: ["ignore", "pipe", "pipe"] });
    const outcome = outcomeOf(child, "the reaper", 30_000);
    await eventually("created", () => (existsSync(join(lab.root, id, "state.json")) ? true : undefined));
    await statusIs(lab, id, "created");
    await lab.ok(["start", id]);
    await end();
    const { stdout, stderr } = await outcome;
    await lab.ok(["delete", id]);
    return `${stdout}${stderr}`;
  };
  assert.match(await live("seven", ["exit=7"], async () => {}), /ended status 7\n/);
  assert.match(await live("killed", [], () => lab.ok(["kill", "killed", "KILL"])), /ended status 137\n/);
});

test("run stays until the guest ends and has its status; run -d does not; both leave nothing in the end", async (t) => {
  const lab = makeRuntimeLab(t);
  const bundle = lab.unikernel(withArgs("exit=5"));
  const foreground = await lab.run(["run", "--bundle", bundle, "short"]);
  assert.equal(foreground.code, 5, foreground.stderr);
  assert.match(lab.output("short"), /unikernel on spt/);
  await assertNothingStands(lab, "by run");
  const kept = await lab.run(["run", "--keep", "--bundle", bundle, "kept"]);
  assert.equal(kept.code, 5);
  assert.equal((await lab.state("kept")).status, "stopped");
  await lab.ok(["delete", "kept"]);
  await lab.ok(["run", "--detach", "--bundle", lab.unikernel(), "long"]);
  assert.equal((await lab.state("long")).status, "running");
  await lab.ok(["delete", "--force", "long"]);
  // A terminal's interrupt reaches `run`, which hands it on.
  const child = spawn(runtime, [...lab.globals, "run", "--bundle", lab.unikernel(), "asked"], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = outcomeOf(child, "run", 20_000);
  await eventually("running", async () =>
    /running/.test((await lab.run(["state", "asked"])).stdout) ? true : undefined,
  );
  child.kill("SIGTERM");
  assert.notEqual((await ended).code, null);
  await assertNothingStands(lab, "by runs");
});

const hookTimes = [
  "prestart",
  "createRuntime",
  "createContainer",
  "startContainer",
  "poststart",
  "poststop",
] as const;

/** A hook that writes the state it reads and the namespaces it is in, with a counter before its name. */
function writeHook(lab: RuntimeLab): string {
  const path = join(lab.dir, "hook");
  writeFileSync(
    path,
    `#!/bin/sh
n=$(ls ${lab.dir}/hooks | wc -l)
cat >${lab.dir}/hooks/$n-$1.state
{ readlink /proc/self/ns/net /proc/self/ns/uts /proc/self/ns/ipc; hostname; echo "$#" "$0" "$PATH" "$MARK"; } >${lab.dir}/$n-$1.ns
${[runtime, ...lab.globals].join(" ")} state "$3" >${lab.dir}/$n-$1.told 2>&1
[ "$2" = fail ] && { echo "$1 says no" >&2; exit 3; }
exit 0
`,
  );
  chmodSync(path, 0o755);
  mkdirSync(join(lab.dir, "hooks"), { recursive: true });
  return path;
}

const withHooks =
  (path: string, failing?: string) =>
  (config: Config): void => {
    config["hooks"] = Object.fromEntries(
      hookTimes.map((time) => [
        time,
        [
          {
            path,
            args: ["hook", time, time === failing ? "fail" : "", "hooked"],
            env: ["PATH=/usr/bin:/bin", "MARK=m"],
          },
        ],
      ]),
    );
  };

const hooksRun = (lab: RuntimeLab): string[] =>
  readdirSync(join(lab.dir, "hooks"))
    .toSorted((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10))
    .map((name) => /^\d+-(\w+)/.exec(name)?.[1] ?? "");

test("hooks of all six kinds run in their order, with the state and in the namespaces of their time", async (t) => {
  const lab = makeRuntimeLab(t);
  const bundle = lab.unikernel(withHooks(writeHook(lab)));
  await lab.create("hooked", bundle);
  assert.deepEqual(hooksRun(lab), hookTimes.slice(0, 3));
  const { pid } = await lab.state("hooked");
  await lab.ok(["start", "hooked"]);
  assert.deepEqual(hooksRun(lab), hookTimes.slice(0, 5));
  await lab.ok(["kill", "hooked", "KILL"]);
  await statusIs(lab, "hooked", "stopped");
  assert.equal(hooksRun(lab).length, 5, "poststop waits for delete");
  await lab.ok(["delete", "hooked"]);
  assert.deepEqual(hooksRun(lab), hookTimes);
  const statuses = ["creating", "creating", "creating", "created", "running", "stopped"];
  const host = ["net", "uts", "ipc"].map((kind) => readlinkSync(`/proc/self/ns/${kind}`));
  for (const [index, time] of hookTimes.entries()) {
    const state: unknown = JSON.parse(readFileSync(join(lab.dir, `hooks/${index}-${time}.state`), "utf8"));
    assert.deepEqual(
      state,
      {
        ociVersion: "1.0.2",
        id: "hooked",
        status: statuses[index],
        pid: time === "poststop" ? 0 : pid,
        bundle,
        annotations,
      },
      time,
    );
    const [net, uts, ipc, hostname, rest] = readFileSync(join(lab.dir, `${index}-${time}.ns`), "utf8").split(
      "\n",
    );
    const inside = time === "createContainer" || time === "startContainer";
    assert.equal(
      net !== host[0] && uts !== host[1] && ipc !== host[2],
      inside,
      `${time}: ${net} ${uts} ${ipc}`,
    );
    assert.equal(hostname === "guest", inside, time);
    assert.match(rest ?? "", /^\d \S*hook \/usr\/bin:\/bin m$/);
    // A hook may ask, as engines' own do.
    const told = readFileSync(join(lab.dir, `${index}-${time}.told`), "utf8");
    if (time === "poststop") assert.match(told, /does not exist/);
    else assert.match(told, new RegExp(`"status": "${statuses[index]}"`), time);
  }
  await assertNothingStands(lab, "by hooks");
});

test("a hook that fails before the guest runs fails its verb and leaves nothing; later ones are told and stop nothing", async (t) => {
  const lab = makeRuntimeLab(t);
  const path = writeHook(lab);
  for (const time of ["prestart", "createRuntime", "createContainer"]) {
    const bundle = lab.unikernel(both(inCgroup(lab, "no"), withHooks(path, time)));
    const outcome = await lab.run(["create", "--bundle", bundle, "--pid-file", join(lab.dir, "pid"), "no"]);
    assert.equal(outcome.code, 1);
    assert.match(outcome.stderr, new RegExp(`the hook ${path} failed: ${time} says no`));
    assert.equal(existsSync(join(lab.dir, "pid")), false);
    await assertNothingStands(lab, `by a failing ${time}`);
  }
  await lab.create("start", lab.unikernel(both(inCgroup(lab, "start"), withHooks(path, "startContainer"))));
  const failed = await lab.run(["start", "start"]);
  assert.equal(failed.code, 1);
  assert.match(failed.stderr, /startContainer says no/);
  await statusIs(lab, "start", "stopped");
  assert.equal(lab.output("start"), "", "the guest never ran");
  await lab.ok(["delete", "start"]);
  await assertNothingStands(lab, "by a failing startContainer");
  await lab.create("after", lab.unikernel(withHooks(path, "poststart")));
  await lab.ok(["start", "after"]);
  assert.equal((await lab.state("after")).status, "running");
  await lab.ok(["delete", "--force", "after"]);
  await lab.create("last", lab.unikernel(withHooks(path, "poststop")));
  const deleted = await lab.run(["delete", "last"]);
  assert.equal(deleted.code, 0);
  assert.match(deleted.stderr, /poststop says no/);
  await assertNothingStands(lab, "by failing hooks");
});

test("warden and guest are in the engine's cgroup, and the limits are there", async (t) => {
  const lab = makeRuntimeLab(t);
  const bundle = lab.unikernel((config) => {
    inCgroup(lab, "limited")(config);
    const linux = config["linux"] as Record<string, unknown>;
    linux["resources"] = {
      memory: { limit: 32 << 20 },
      cpu: { quota: 50_000, period: 100_000, shares: 512 },
    };
  });
  await lab.create("limited", bundle);
  await lab.ok(["start", "limited"]);
  const { pid } = await lab.state("limited");
  const pids = JSON.parse(await lab.ok(["ps", "--format", "json", "limited"])) as number[];
  assert.ok(pids.includes(pid) && pids.length === 2);
  for (const one of pids) {
    const lines = readFileSync(`/proc/${one}/cgroup`, "utf8").trimEnd().split("\n");
    for (const line of lines.filter((each) => /:(memory|cpu|pids)\b/.test(each)))
      assert.match(line, new RegExp(`:${lab.cgroups}/limited(/guest)?$`));
  }
  const limitOf = (name: string): string[] =>
    cgroupsBeneath(`${lab.cgroups}/limited`)
      .map((dir) => join(dir, name))
      .filter((file) => existsSync(file))
      .map((file) => readFileSync(file, "utf8").trim());
  const memory = [...limitOf("memory.limit_in_bytes"), ...limitOf("memory.max")].map(Number);
  assert.ok(
    memory.some((bytes) => bytes > 32 << 20 && bytes < 64 << 20),
    `the guest's memory and the monitor's own: ${memory.join(" ")}`,
  );
  assert.ok([...limitOf("cpu.cfs_quota_us"), ...limitOf("cpu.max")].some((text) => /^50000\b/.test(text)));
  await lab.ok(["delete", "--force", "limited"]);
  await assertNothingStands(lab, "by limits");
});

const ip = async (...argv: string[]): Promise<void> => {
  const outcome = await runToEnd("ip", argv);
  assert.equal(outcome.code, 0, outcome.stderr);
};

test("a network namespace that an engine made is joined, its address and name servers reach the guest, and it stays", async (t) => {
  const lab = makeRuntimeLab(t);
  const name = lab.cgroups.slice(1);
  await ip("netns", "add", name);
  t.after(() => ip("netns", "delete", name));
  const peer = `${name}-peer`;
  await ip("netns", "add", peer);
  t.after(() => ip("netns", "delete", peer));
  await ip("-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", peer);
  await ip("-n", peer, "link", "set", "eth0", "up");
  for (const argv of [
    ["addr", "add", "10.9.8.7/24", "dev", "eth0"],
    ["link", "set", "eth0", "up"],
  ])
    await ip("-n", name, ...argv);
  const resolv = join(lab.dir, "resolv.conf");
  writeFileSync(resolv, "nameserver 10.9.8.1\nsearch example.test\n");
  const bundle = lab.unikernel((config) => {
    config["linux"] = { namespaces: [{ type: "network", path: `/var/run/netns/${name}` }] };
    config["mounts"] = [
      { destination: "/etc/resolv.conf", type: "bind", source: resolv, options: ["rbind", "ro"] },
    ];
    (config["annotations"] as Record<string, string>)["dev.tripod.boot-line"] =
      "ip={ipv4} hostname={hostname} dns={dns} {args}";
  });
  await lab.create("net", bundle);
  await lab.ok(["start", "net"]);
  const { pid } = await lab.state("net");
  const inode = await runToEnd("stat", ["-L", "-c", "%i", `/var/run/netns/${name}`]);
  assert.equal(readlinkSync(`/proc/${pid}/ns/net`), `net:[${inode.stdout.trim()}]`);
  await eventually("the guest has its address", () =>
    /listening on 10\.9\.8\.7:80/.test(lab.output("net")) ? true : undefined,
  );
  const monitor = (JSON.parse(await lab.ok(["ps", "--format", "json", "net"])) as number[])[1];
  const argv = readFileSync(`/proc/${monitor}/cmdline`, "utf8");
  assert.match(argv, /ip=10\.9\.8\.7\/24 hostname=guest dns=10\.9\.8\.1 port=80/);
  await lab.ok(["delete", "--force", "net"]);
  const links = await runToEnd("ip", ["-n", name, "-o", "link"]);
  assert.doesNotMatch(links.stdout, /tap/);
  assert.equal(
    (await runToEnd("tc", ["-n", name, "qdisc", "show", "dev", "eth0"])).stdout.includes("ingress"),
    false,
  );
  await assertNothingStands(lab, "by a joined network");
});

test("a sandbox whose warden was killed is stopped, and delete takes what is left of it", async (t) => {
  const lab = makeRuntimeLab(t);
  await lab.create("orphan", lab.unikernel(both(inCgroup(lab, "orphan"), withHooks(writeHook(lab)))));
  await lab.ok(["start", "orphan"]);
  process.kill((await lab.state("orphan")).pid, "SIGKILL");
  await statusIs(lab, "orphan", "stopped");
  assert.match((await lab.run(["kill", "orphan"])).stderr, /container not running/);
  await lab.ok(["delete", "orphan"]);
  assert.equal(hooksRun(lab).at(-1), "poststop");
  await assertNothingStands(lab, "by a killed warden");
});

test("a kernel that its monitor refuses fails the start and is never running", async (t) => {
  const lab = makeRuntimeLab(t);
  const bundle = lab.unikernel((config) => {
    inCgroup(lab, "broken")(config);
    // Nothing is left for the kernel above the addresses that are not its own: only who loads it knows.
    (config["linux"] as Record<string, unknown>)["resources"] = { memory: { limit: 1 << 20 } };
  });
  await lab.create("broken", bundle);
  const seen: string[] = [];
  const start = lab.run(["start", "broken"]);
  const ended = start.then(() => true);
  const look = async (): Promise<false> => {
    seen.push((await lab.state("broken")).status);
    return false;
  };
  while (!(await Promise.race([ended, look()])));
  const outcome = await start;
  assert.equal(outcome.code, 1, `${outcome.stdout}${lab.output("broken")}`);
  assert.match(outcome.stderr, /ended before its guest began/);
  assert.match(lab.output("broken"), /tripod-tender: /);
  await statusIs(lab, "broken", "stopped");
  assert.equal(seen.includes("running"), false, seen.join(" "));
  await lab.ok(["delete", "broken"]);
  const run = await lab.run(["run", "--bundle", bundle, "broken"]);
  assert.equal(run.code, 1);
  await assertNothingStands(lab, "by a refused kernel");
});

test("one id is created once, however many ask at the same time", async (t) => {
  const lab = makeRuntimeLab(t);
  const bundle = lab.unikernel();
  const outcomes = await Promise.all(
    [1, 2, 3, 4].map((number) => lab.run(["create", "--bundle", bundle, "one"], { name: `one-${number}` })),
  );
  assert.equal(outcomes.filter(({ code }) => code === 0).length, 1);
  for (const { code, stderr } of outcomes)
    if (code !== 0) assert.match(stderr, /container with given ID already exists: one/);
  assert.equal((await lab.state("one")).status, "created");
  await lab.ok(["delete", "one"]);
  await assertNothingStands(lab, "by many creates of one id");
});

test("a runtime that is killed in the middle of create leaves nothing, whenever that is", async (t) => {
  const lab = makeRuntimeLab(t);
  const bundle = lab.unikernel(inCgroup(lab, "torn"));
  const begun = Date.now();
  await lab.create("torn", bundle);
  const whole = Date.now() - begun;
  await lab.ok(["delete", "torn"]);
  let created = 0;
  for (let part = 1; part <= 16; part++) {
    const child = spawn(runtime, [...lab.globals, "create", "--bundle", bundle, "torn"], { stdio: "ignore" });
    const ended = outcomeOf(child, "create", 20_000);
    // Most of it is the decision; the sandbox is made in the last part.
    await new Promise((resolve) => setTimeout(resolve, whole * (0.3 + part * 0.045)));
    child.kill("SIGKILL");
    const { code } = await ended;
    if (code === 0) created++;
    else
      await eventually("all of it is there, or nothing runs", async () =>
        processesOf(lab).length === 0 || /"created"/.test((await lab.run(["state", "torn"])).stdout)
          ? true
          : undefined,
      );
    // As engines do after a create that they have not heard of.
    await lab.ok(["delete", "--force", "torn"]);
    await assertNothingStands(lab, `by a kill at part ${part}`);
  }
  t.diagnostic(`${created} of 16 were created before the kill`);
});

test("fifty sandboxes are created at once, listed, started and deleted", { timeout: 120_000 }, async (t) => {
  const lab = makeRuntimeLab(t);
  const bundle = lab.unikernel();
  const ids = Array.from({ length: 50 }, (_, index) => `many-${index}`);
  const outcomes = await Promise.all(
    ids.map((id) => lab.run(["create", "--bundle", bundle, id], { timeoutMs: 60_000 })),
  );
  assert.deepEqual(outcomes.map(({ code, stderr }) => (code === 0 ? "" : stderr)).filter(Boolean), []);
  assert.deepEqual((await lab.ok(["list", "-q"])).trim().split("\n").toSorted(), ids.toSorted());
  await Promise.all(ids.map((id) => lab.ok(["start", id])));
  const states = JSON.parse(await lab.ok(["list", "--format", "json"])) as { status: string }[];
  assert.ok(states.length === 50 && states.every(({ status }) => status === "running"));
  await Promise.all(ids.map((id) => lab.ok(["delete", "--force", id])));
  await assertNothingStands(lab, "by fifty");
});

test("containers are runc's, and are listed with ours", async (t) => {
  const lab = makeRuntimeLab(t);
  const script = "echo from the container; trap 'exit 4' TERM; while :; do busybox sleep 0.1; done";
  await lab.create("box", lab.container(script));
  await lab.create("guest", lab.unikernel());
  assert.equal((await lab.state("box")).status, "created");
  await lab.ok(["start", "box"]);
  const listed = JSON.parse(await lab.ok(["list", "--format", "json"])) as {
    id: string;
    status: string;
    pid: number;
  }[];
  assert.deepEqual(
    listed.map(({ id, status }) => `${id} ${status}`),
    ["box running", "guest created"],
  );
  const table = await lab.ok(["list"]);
  assert.match(
    table,
    /^ID +PID +STATUS +BUNDLE +CREATED +OWNER\nbox +\d+ +running .*root\nguest +\d+ +created .*root\n$/,
  );
  const executed = await lab.run(["exec", "box", "/bin/busybox", "echo", "inside"]);
  assert.equal(executed.stdout, "inside\n", executed.stderr);
  assert.equal((await lab.run(["exec", "box", "/bin/busybox", "sh", "-c", "exit 9"])).code, 9);
  assert.match(await lab.ok(["ps", "box"]), /busybox sleep/);
  await lab.ok(["pause", "box"]);
  assert.equal((await lab.state("box")).status, "paused");
  await lab.ok(["resume", "box"]);
  await eventually("the container speaks", () =>
    /from the container/.test(lab.output("box")) ? true : undefined,
  );
  await lab.ok(["kill", "box", "TERM"]);
  await statusIs(lab, "box", "stopped");
  for (const id of ["box", "guest"]) await lab.ok(["delete", id]);
  const run = await lab.run(["run", "--bundle", lab.container("exit 6"), "short"]);
  assert.equal(run.code, 6);
  // Its mark goes with the next look.
  await lab.run(["delete", "--force", "short"]);
  assert.deepEqual(standing(lab), []);
});

test("failures are told on stderr and as the last line of a JSON log, as engines read them", async (t) => {
  const lab = makeRuntimeLab(t);
  const log = join(lab.dir, "log.json");
  const bundle = lab.unikernel((config) => {
    (config["annotations"] as Record<string, string>)["dev.tripod.kernel"] = '/no\n"such" file';
  });
  const fail = await lab.run(["--log", log, "--log-format", "json", "create", "--bundle", bundle, "wrong"]);
  assert.equal(fail.code, 1);
  const line = JSON.parse(readFileSync(log, "utf8").trimEnd().split("\n").at(-1) ?? "") as Record<
    string,
    string
  >;
  assert.equal(line["level"], "error");
  assert.match(line["msg"] ?? "", /dev\.tripod\.kernel|\/no/);
  assert.match(line["time"] ?? "", /^\d{4}-\d\d-\d\dT/);
  assert.ok(fail.stderr.includes((line["msg"] ?? "?").split("\n")[0] ?? "?"));
  await lab.run(["--log", log, "--log-format", "json", "state", "nobody"]);
  const last = JSON.parse(readFileSync(log, "utf8").trimEnd().split("\n").at(-1) ?? "") as Record<
    string,
    string
  >;
  assert.equal(last["msg"], "container does not exist: nobody");
  rmSync(log);
  await lab.run(["--log", log, "state", "nobody"]);
  assert.match(
    readFileSync(log, "utf8"),
    /^time="[^"]+" level=error msg="container does not exist: nobody"\n$/,
  );
  await assertNothingStands(lab, "by failures");
});

/** Takes the terminal that is sent to a console socket and prints what is said on it. */
const terminal = `
use Socket;
my ($path) = @ARGV;
my $recvmsg = { x86_64 => 47, aarch64 => 212 }->{(split ' ', qx(uname -m))[0]};
socket(my $server, AF_UNIX, SOCK_STREAM, 0) or die; bind($server, pack_sockaddr_un($path)) or die; listen($server, 1) or die;
accept(my $client, $server) or die;
my $data = "\\0" x 256; my $control = "\\0" x 64;
my $vector = pack("P Q", $data, length $data);
my $message = pack("Q L x4 P Q P Q l x4", 0, 0, $vector, 1, $control, length $control, 0);
my $length = syscall($recvmsg, fileno $client, $message, 0); $length > 0 or die "recvmsg: $!";
my ($size, $level, $type, $fd) = unpack("Q l l l", $control);
print "name ", unpack("Z*", $data), "\\n"; $| = 1;
open my $tty, "+<&=", $fd or die "fd $fd: $!";
while (sysread $tty, my $text, 4096) { print $text }
`;

test("the terminal goes to the console socket, and the guest speaks on it", async (t) => {
  const lab = makeRuntimeLab(t);
  const socket = join(lab.dir, "console.sock");
  const child = spawn("perl", ["-e", terminal, socket], { stdio: ["ignore", "pipe", "pipe"] });
  const heard = outcomeOf(child, "the terminal", 30_000);
  await eventually("the socket", () => (existsSync(socket) ? true : undefined));
  const bundle = lab.unikernel((config) => {
    config["process"] = {
      ...(config["process"] as object),
      terminal: true,
      consoleSize: { height: 33, width: 77 },
      args: ["exit=0"],
    };
  });
  const without = await lab.run(["create", "--bundle", bundle, "tty"]);
  assert.match(without.stderr, /cannot allocate tty[\s\S]*--console-socket/);
  await lab.create("tty", bundle, "--console-socket", socket);
  await lab.ok(["start", "tty"]);
  await statusIs(lab, "tty", "stopped");
  await lab.ok(["delete", "tty"]);
  const { stdout, stderr } = await heard;
  assert.match(stdout, /^name \S+\n[\s\S]*httpreply: unikernel on spt/, stderr);
  assert.doesNotMatch(lab.output("tty").replace(without.stderr, ""), /httpreply/);
  await assertNothingStands(lab, "by a terminal");
});
