/** The volumes of a bundle lie in the root that the guest is served, and nothing of them reaches the host's own tree. */

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import {
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { linuxKernel } from "../support/linux.ts";
import { requires } from "../support/requires.ts";
import { type RuntimeLab, makeRuntimeLab } from "../support/runtime.ts";
import { eventually, runToEnd } from "../support/tripod.ts";

const annotations = {
  "dev.tripod.mode": "unikernel",
  "dev.tripod.guest": "linux",
  "dev.tripod.monitors": "qemu",
  "dev.tripod.kernel": "/kernel",
  "dev.tripod.mount-rootfs": "true",
};

const childrenOf = (pid: number): number[] =>
  readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8").trim().split(" ").map(Number),
  );

let networks = 0;

/** A network namespace that is there already: the launch then is the creation's, and does not wait for an engine to fill a new one. */
async function standingNetwork(t: TestContext): Promise<{ readonly namespaces: readonly object[] }> {
  const name = `tripod-volumes-${process.pid}-${networks++}`;
  await runToEnd("ip", ["netns", "add", name]);
  t.after(() => runToEnd("ip", ["netns", "delete", name]));
  return { namespaces: [{ type: "network", path: `/var/run/netns/${name}` }] };
}

test("a bundle's bind mounts are in the guest's root, in their order, with what is theirs", async (t) => {
  const kernel = process.arch === "x64" ? await linuxKernel() : undefined;
  if (!requires(t, "Debian's kernel for amd64", kernel !== undefined) || kernel === undefined) return;
  const lab = makeRuntimeLab(t);
  const at = (name: string): string => join(lab.dir, name);
  for (const name of ["data", "data/deep", "secrets"]) mkdirSync(at(name));
  writeFileSync(at("secrets/token"), "secret\n");
  writeFileSync(at("hosts"), "127.0.0.1 box\n");
  const linux = await standingNetwork(t);
  const bundle = lab.container("guest", {
    args: ["/init"],
    linux,
    config: {
      annotations,
      root: { path: "rootfs", readonly: true },
      mounts: [
        { destination: "/proc", type: "proc", source: "proc" },
        { destination: "/data", type: "bind", source: at("data"), options: ["rbind", "rw"] },
        { destination: "/data/deep/secrets", type: "bind", source: at("secrets"), options: ["rbind", "ro"] },
        { destination: "/etc/hosts", type: "bind", source: at("hosts"), options: ["bind", "ro"] },
        { destination: "/var/run/token", type: "bind", source: at("secrets/token"), options: ["bind"] },
        { destination: "/dev/shm", type: "bind", source: at("data"), options: ["bind"] },
      ],
    },
  });
  const rootfs = join(bundle, "rootfs");
  cpSync(join(kernel, "vmlinuz"), join(rootfs, "kernel"));
  mkdirSync(join(rootfs, "var"));
  symlinkSync("/run", join(rootfs, "var/run"));

  await lab.ok(["create", "--bundle", bundle, "guest"]);
  const { pid }: { pid: number } = JSON.parse(await lab.ok(["state", "guest"]));
  const [monitor] = childrenOf(pid);
  assert.ok(monitor !== undefined);
  const seen = (name: string): string => `/proc/${monitor}/root/share-0${name}`;
  assert.equal(readFileSync(seen("/etc/hosts"), "utf8"), "127.0.0.1 box\n");
  assert.equal(readFileSync(seen("/data/deep/secrets/token"), "utf8"), "secret\n");
  assert.equal(readFileSync(seen("/run/token"), "utf8"), "secret\n");
  writeFileSync(seen("/data/new"), "");
  for (const name of ["/new", "/data/deep/secrets/new", "/etc/hosts"])
    assert.throws(() => writeFileSync(seen(name), ""), /EROFS/, name);
  assert.ok(!existsSync(seen("/dev/shm")));

  assert.ok(existsSync(at("data/new")));
  // The places that were missing, and nothing in them.
  assert.deepEqual(readdirSync(join(rootfs, "data")), []);
  assert.deepEqual([readFileSync(join(rootfs, "run/token"), "utf8"), statSync(at("hosts")).size], ["", 14]);
  await lab.ok(["delete", "--force", "guest"]);
});

test("a volume that a guest cannot have is refused, and what engines give every container is not", async (t) => {
  const lab = makeRuntimeLab(t);
  const hosts = join(lab.dir, "hosts");
  writeFileSync(hosts, "");
  const mountsOf = (...destinations: string[]): object => ({
    mounts: destinations.map((destination) => ({
      destination,
      type: "bind",
      source: destination.startsWith("/etc") ? hosts : lab.dir,
    })),
  });
  const refused = lab.unikernel("refused", { config: { ...mountsOf("/etc/hosts", "/srv/data") } });
  const outcome = await lab.run(["create", "--bundle", refused, "refused"]);
  assert.equal(outcome.code, 1);
  assert.match(outcome.logged.at(-1)?.msg ?? "", /the volume \/srv\/data .*solo5 guest/);
  const taken = lab.unikernel("taken", {
    config: { ...mountsOf("/etc/hosts", "/etc/resolv.conf", "/dev/shm", "/run/secrets") },
  });
  await lab.ok(["create", "--bundle", taken, "taken"]);
});

const run = (file: string, ...argv: string[]): string => {
  const done = spawnSync(file, argv, { encoding: "utf8", timeout: 20_000 });
  assert.equal(done.status, 0, `${file} ${argv.join(" ")}: ${done.stderr}`);
  return done.stdout.trim();
};

test("a root file system on a block device is the guest's alone while it lives, and the engine's again afterwards", async (t) => {
  const kernel = process.arch === "x64" ? await linuxKernel() : undefined;
  if (!requires(t, "Debian's kernel for amd64", kernel !== undefined) || kernel === undefined) return;
  if (!requires(t, "loop devices", existsSync("/dev/loop-control"))) return;
  const lab = makeRuntimeLab(t);
  const linux = await standingNetwork(t);
  const bundle = lab.container("guest", { args: ["/init"], config: { annotations }, linux });
  const image = join(lab.dir, "image");
  writeFileSync(image, "");
  truncateSync(image, 32 << 20);
  run("mkfs.ext4", "-q", "-F", image);
  const device = run("losetup", "--find", "--show", image);
  try {
    // Other sandboxes of this machine then see what is unmounted here, as on a machine of systemd's.
    run("mount", "--bind", bundle, bundle);
    run("mount", "--make-shared", bundle);
    run("mount", "-o", "noatime", device, join(bundle, "rootfs"));
    cpSync(join(kernel, "vmlinuz"), join(bundle, "rootfs/kernel"));
    await takeAndReturn(lab, bundle, device);
  } finally {
    for (const id of ["busy", "guest", "killed"]) await lab.run(["delete", "--force", id]);
    spawnSync("umount", ["--recursive", bundle]);
    run("losetup", "--detach", device);
  }
});

async function takeAndReturn(lab: RuntimeLab, bundle: string, device: string): Promise<void> {
  const rootfs = join(bundle, "rootfs");
  const seen = (): string | undefined =>
    readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .find((line) => line.split(" ")[4] === rootfs);
  assert.match(seen() ?? "", /noatime/);

  const held = openSync(join(rootfs, "kernel"), "r");
  const refused = await lab.run(["create", "--bundle", bundle, "busy"]);
  closeSync(held);
  assert.equal(refused.code, 1);
  assert.match(refused.logged.at(-1)?.msg ?? "", /cannot unmount .*rootfs.*busy/);
  assert.ok(existsSync(join(rootfs, "kernel")));

  const copier = spawn("unshare", ["--mount", "--propagation", "private", "sleep", "60"]);
  try {
    await eventually("a copy of the mounts", async () =>
      /noatime - ext4/.test(readFileSync(`/proc/${copier.pid}/mountinfo`, "utf8")) &&
      readFileSync(`/proc/${copier.pid}/comm`, "utf8") === "sleep\n"
        ? true
        : undefined,
    );
    const elsewhere = await lab.run(["create", "--bundle", bundle, "busy"]);
    assert.equal(elsewhere.code, 1);
    assert.match(elsewhere.logged.at(-1)?.msg ?? "", /is still mounted elsewhere/);
    assert.match(seen() ?? "", /noatime/);
  } finally {
    copier.kill("SIGKILL");
  }

  await lab.ok(["create", "--bundle", bundle, "guest"]);
  assert.equal(seen(), undefined);
  const { pid }: { pid: number } = JSON.parse(await lab.ok(["state", "guest"]));
  const [monitor] = childrenOf(pid);
  const opened = readdirSync(`/proc/${monitor}/fd`).map((fd) => readlinkSync(`/proc/${monitor}/fd/${fd}`));
  assert.ok(opened.includes(device), opened.join(", "));
  // What a guest does, which nobody could beside a mounted file system.
  run("e2fsck", "-f", "-y", device);
  await lab.ok(["delete", "--force", "guest"]);
  assert.match(seen() ?? "", /noatime/);
  assert.ok(existsSync(join(rootfs, "kernel")));

  await lab.ok(["create", "--bundle", bundle, "killed"]);
  assert.equal(seen(), undefined);
  const state: { pid: number } = JSON.parse(await lab.ok(["state", "killed"]));
  process.kill(state.pid, "SIGKILL");
  await lab.ok(["delete", "--force", "killed"]);
  assert.match(seen() ?? "", /noatime/);
}
