/** The volumes of a bundle lie in the root that the guest is served, and nothing of them reaches the host's own tree. */

import assert from "node:assert/strict";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { linuxKernel } from "../support/linux.ts";
import { requires } from "../support/requires.ts";
import { makeRuntimeLab } from "../support/runtime.ts";
import { runToEnd } from "../support/tripod.ts";

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

test("a bundle's bind mounts are in the guest's root, in their order, with what is theirs", async (t) => {
  const kernel = process.arch === "x64" ? await linuxKernel() : undefined;
  if (!requires(t, "Debian's kernel for amd64", kernel !== undefined) || kernel === undefined) return;
  const lab = makeRuntimeLab(t);
  const at = (name: string): string => join(lab.dir, name);
  for (const name of ["data", "data/deep", "secrets"]) mkdirSync(at(name));
  writeFileSync(at("secrets/token"), "secret\n");
  writeFileSync(at("hosts"), "127.0.0.1 box\n");
  // One that is there already: the launch then is the creation's, and does not wait for an engine to fill a new one.
  const netns = `tripod-volumes-${process.pid}`;
  await runToEnd("ip", ["netns", "add", netns]);
  t.after(() => runToEnd("ip", ["netns", "delete", netns]));
  const bundle = lab.container("guest", {
    args: ["/init"],
    linux: { namespaces: [{ type: "network", path: `/var/run/netns/${netns}` }] },
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
