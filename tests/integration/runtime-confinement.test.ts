/** What an engine's monitor is on the host: as confined as those of `tripod run` (confinement.test.ts), whatever the engine leaves open and whoever the image's user is. */

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import {
  closeSync,
  copyFileSync,
  existsSync,
  openSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  type Config,
  type RuntimeLab,
  assertNothingStands,
  cgroupsBeneath,
  inCgroup,
  makeRuntimeLab,
  runtime,
} from "../support/bundles.ts";
import { eventually, outcomeOf, tree } from "../support/tripod.ts";

const monitorOf = async (lab: RuntimeLab, id: string): Promise<number> => {
  const [, monitor] = JSON.parse(await lab.ok(["ps", "--format", "json", id])) as number[];
  assert.ok(monitor !== undefined);
  return monitor;
};

const field = (pid: number, name: string): string =>
  new RegExp(`^${name}:[ \\t]*(.*)$`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]?.trim() ??
  "";

const descriptorsOf = (pid: number): ReadonlyMap<number, string> =>
  new Map(readdirSync(`/proc/${pid}/fd`).map((fd) => [Number(fd), readlinkSync(`/proc/${pid}/fd/${fd}`)]));

/** Creates with a descriptor that the engine forgot to close, and starts. */
async function startWithLeak(lab: RuntimeLab, id: string, bundle: string): Promise<void> {
  const out = openSync(join(lab.dir, `${id}.out`), "a");
  const secret = openSync("/etc/shadow", "r");
  const argv = [...lab.globals, "create", "--bundle", bundle, id];
  const child = spawn(runtime, argv, { stdio: ["ignore", out, out, secret, secret, secret, secret, secret] });
  for (const fd of [out, secret]) closeSync(fd);
  const { code } = await outcomeOf(child, "create", 30_000);
  assert.equal(code, 0, lab.output(id));
  await lab.ok(["start", id]);
  await eventually("the guest speaks", () => (/unikernel on/.test(lab.output(id)) ? true : undefined));
}

/** Checks everything that does not depend on the monitor. */
async function checkConfined(lab: RuntimeLab, id: string, user: RegExp): Promise<number> {
  const pid = await monitorOf(lab, id);
  const warden = (await lab.state(id)).pid;
  for (const name of ["Uid", "Gid"]) {
    const ids = new Set(field(pid, name).split(/\s+/));
    assert.equal(ids.size, 1, `${name}: ${[...ids].join(" ")}`);
    assert.match([...ids][0] ?? "", user, name);
  }
  assert.equal(field(pid, "Groups"), "");
  for (const name of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"])
    assert.match(field(pid, name), /^0+$/, name);
  assert.equal(field(pid, "NoNewPrivs"), "1");
  assert.equal(field(pid, "Seccomp"), "2");
  for (const kind of ["mnt", "pid", "net", "ipc", "uts", "cgroup"])
    assert.notEqual(readlinkSync(`/proc/${pid}/ns/${kind}`), readlinkSync(`/proc/self/ns/${kind}`), kind);
  // Engines look for the sandbox's network at the process of the pid file.
  assert.equal(readlinkSync(`/proc/${pid}/ns/net`), readlinkSync(`/proc/${warden}/ns/net`));
  for (const mount of readFileSync(`/proc/${pid}/mountinfo`, "utf8").trimEnd().split("\n"))
    assert.match(mount.split(" ")[5] ?? "", /\bro\b.*\bnosuid\b/, mount);
  // Nothing of the engine's, nor of the image's.
  assert.match(readFileSync(`/proc/${pid}/environ`, "utf8"), /^(QEMU_MODULE_DIR=[^\0]*\0)?$/);
  for (const one of [pid, warden])
    for (const target of descriptorsOf(one).values()) assert.doesNotMatch(target, /shadow/, `${one}`);
  const devices = cgroupsBeneath(`${lab.cgroups}/${id}`)
    .map((dir) => join(dir, "devices.list"))
    .filter((file) => file.endsWith("/guest/devices.list") && existsSync(file));
  for (const file of devices)
    assert.match(
      readFileSync(file, "utf8"),
      /^(c 1:[35789] rwm\n)+$/,
      "the null device and its like, and no other",
    );
  // Version 2 has no such list: there the root without nodes is what keeps devices away.
  if (existsSync("/sys/fs/cgroup/devices")) assert.equal(devices.length, 1);
  return pid;
}

/** The engine's three streams, as they are. */
function checkStreams(lab: RuntimeLab, id: string, pid: number): ReadonlyMap<number, string> {
  const descriptors = descriptorsOf(pid);
  assert.equal(descriptors.get(0), "/dev/null");
  for (const fd of [1, 2]) {
    const [ours, theirs] = [statSync(join(lab.dir, `${id}.out`)), statSync(`/proc/${pid}/fd/${fd}`)];
    assert.ok(ours.ino === theirs.ino && ours.dev === theirs.dev, `descriptor ${fd}`);
  }
  return descriptors;
}

test("a tender has an empty root, its kernel and its tap, and nothing of the engine's but the streams", async (t) => {
  const lab = makeRuntimeLab(t);
  await startWithLeak(lab, "tender", lab.unikernel(inCgroup(lab, "tender")));
  const pid = await checkConfined(lab, "tender", /^1[89]\d{8}$/);
  assert.deepEqual(readdirSync(`/proc/${pid}/root`), []);
  const more = [...checkStreams(lab, "tender", pid)].filter(([fd]) => fd > 2).map(([, target]) => target);
  const known = /^(\/kernel|.*\/rootfs\/kernel|\/dev\/net\/tun|anon_inode:\[(eventpoll|timerfd)\])$/;
  for (const target of more) assert.match(target, known);
  await lab.ok(["delete", "--force", "tender"]);
  await assertNothingStands(lab, "by a tender");
});

test("the image's user is the monitor's, and is confined as one of ours", async (t) => {
  const lab = makeRuntimeLab(t);
  const bundle = lab.unikernel((config) => {
    inCgroup(lab, "user")(config);
    config["process"] = {
      ...(config["process"] as object),
      user: { uid: 1234, gid: 1234, additionalGids: [0, 27] },
    };
  });
  await startWithLeak(lab, "user", bundle);
  const pid = await checkConfined(lab, "user", /^1234$/);
  assert.deepEqual(readdirSync(`/proc/${pid}/root`), []);
  await lab.ok(["delete", "--force", "user"]);
  await assertNothingStands(lab, "by a user");
});

const qemuBundle = (lab: RuntimeLab, id: string): string => {
  const bundle = lab.unikernel((config: Config) => {
    inCgroup(lab, id)(config);
    config["annotations"] = {
      ...(config["annotations"] as object),
      "dev.tripod.guest": "pvh",
      "dev.tripod.monitors": "qemu",
      "dev.tripod.net-devices": undefined,
    };
    config["linux"] = { ...(config["linux"] as object), resources: { memory: { limit: 64 << 20 } } };
  });
  copyFileSync(join(tree, "build/httpreply/httpreply.pvh"), join(bundle, "rootfs/kernel"));
  return bundle;
};

test("QEMU's root holds its program, its libraries and its kernel", { timeout: 60_000 }, async (t) => {
  const lab = makeRuntimeLab(t);
  await startWithLeak(lab, "qemu", qemuBundle(lab, "qemu"));
  const pid = await checkConfined(lab, "qemu", /^1[89]\d{8}$/);
  assert.ok(
    readdirSync(`/proc/${pid}/root`).every((name) =>
      ["dev", "kernel", "lib", "lib64", "tmp", "usr"].includes(name),
    ),
    readdirSync(`/proc/${pid}/root`).join(" "),
  );
  const more = [...checkStreams(lab, "qemu", pid)].filter(([fd]) => fd > 2).map(([, target]) => target);
  const known =
    /^(\/dev\/(net\/tun|kvm)|anon_inode:(\[(eventpoll|timerfd|eventfd|signalfd)\]|kvm-\S+)|socket:\[\d+\]|.*kernel)$/;
  for (const target of more) assert.match(target, known);
  await lab.ok(["delete", "--force", "qemu"]);
  await assertNothingStands(lab, "by QEMU");
});

/** As in confinement.test.ts: `killed` is the filter's answer, and facts have their own. */
const refused = /^(killed|refused E\w+)$/;
const facts: Readonly<Record<string, RegExp>> = {
  identity: /^(killed|uid 1[89]\d{8} gid 1[89]\d{8} groups 0)$/,
  capabilities: /^(killed|effective 0 permitted 0 bounding 0)$/,
  "no-new-privs": /^(killed|1)$/,
  "open-fds": /^(killed|0 1 2( [3-9])*)$/,
  "root-entries": /^(killed|refused E\w+|empty)$/,
};

test(
  "a hostile program in a tender's place reaches nothing from under an engine",
  { timeout: 120_000 },
  async (t) => {
    const lab = makeRuntimeLab(t);
    execFileSync(join(tree, "script/build-probe"), { timeout: 300_000 });
    const probe = join(lab.dir, "hostile-probe");
    copyFileSync(join(tree, "build/hostile-probe"), probe);
    const config = join(lab.dir, "config.toml");
    writeFileSync(config, `[monitors.spt]\npath = "${probe}"\n`);
    for (const name of execFileSync(probe, { encoding: "utf8", timeout: 10_000 }).trim().split("\n")) {
      const bundle = lab.unikernel((each) => {
        each["process"] = { ...(each["process"] as object), args: [`attempt=${name}`] };
      });
      const { code } = await lab.run(["--tripod-config", config, "run", "--bundle", bundle, name]);
      const said = code === 159 ? "killed" : lab.output(name).trim();
      assert.match(said, facts[name] ?? refused, `${name}: status ${code}`);
    }
    await assertNothingStands(lab, "by a hostile program");
  },
);
