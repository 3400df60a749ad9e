import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type TestContext, test } from "node:test";
import { TripodError } from "../spec/errors.ts";
import { sptOffer } from "../spec/fixtures.ts";
import { hostPath, untrustedPath } from "../spec/paths.ts";
import { ownNumber } from "./own-number.ts";
import { type UnikernelSource, unikernelWorkload } from "./unikernel.ts";

/** The first bytes of a bzImage. */
const bzImage = Buffer.alloc(0x210);
bzImage.write("HdrS", 0x202);

/** Layers, topmost first, each with its files; links as `-> target`. */
function layers(t: TestContext, ...trees: Readonly<Record<string, string | Buffer>>[]) {
  const dir = mkdtempSync(join(tmpdir(), "tripod-unikernel-"));
  t.after(() => rmSync(dir, { recursive: true }));
  return trees.map((files, index) => {
    for (const [name, content] of Object.entries(files)) {
      const path = join(dir, `${index}`, name);
      mkdirSync(dirname(path), { recursive: true });
      if (typeof content === "string" && content.startsWith("-> ")) symlinkSync(content.slice(3), path);
      else writeFileSync(path, content);
    }
    return hostPath(join(dir, `${index}`));
  });
}

const { bootLine: _template, netDevices: _devices, ...plainOffer } = sptOffer;
const tree = hostPath("/run/tripod/default/a/rootfs");

const sourceOf = (
  lowers: UnikernelSource["lowers"],
  offer: Partial<UnikernelSource["offer"]> = {},
  change: Partial<UnikernelSource> = {},
): UnikernelSource => ({
  id: "web",
  offer: { ...plainOffer, guest: "linux", ...offer },
  monitor: "spt",
  program: hostPath("/opt/tripod-tender"),
  machine: { arch: "amd64", memoryBytes: 1 << 28, vcpus: 1, kvm: false },
  arch: "amd64",
  subject: "web",
  lowers,
  tree,
  makeTree: "overlay",
  args: ["/urunit", "/app"],
  env: ["A=1"],
  cwd: "",
  allowVaccel: false,
  ...change,
});

const refuses = async (source: UnikernelSource, code: string, message: RegExp): Promise<void> => {
  await assert.rejects(unikernelWorkload(source), (error) => {
    assert.ok(error instanceof TripodError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  });
};

test("a root on the image's disk is written in the sandbox's own tree, never in a layer", async (t) => {
  const lowers = layers(
    t,
    { "disks/link": "-> ../images/root.img" },
    { kernel: bzImage, "images/root.img": "bytes" },
  );
  const disk = { path: untrustedPath("/disks/link"), mountPoint: "/" };
  const workload = await unikernelWorkload(sourceOf(lowers, { disk }));
  assert.deepEqual(workload.root, {
    kind: "disk",
    disk: { name: "rootfs", path: `${tree}/images/root.img`, readonly: false },
  });
  assert.deepEqual(workload.tree, { lowers, overlay: true });
  assert.equal(workload.kernel, `${lowers[1]}/kernel`);
  assert.equal(workload.cwd, "/");
});

test("a disk for another place is mounted there, beside an initrd too", async (t) => {
  const lowers = layers(t, { kernel: bzImage, initrd: "cpio", "data.img": "bytes" });
  const disk = { path: untrustedPath("data.img"), mountPoint: "/data" };
  const source = sourceOf(lowers, { disk, initrd: untrustedPath("/initrd") }, { makeTree: "copy" });
  const { root, mounts, tree: made } = await unikernelWorkload(source);
  assert.deepEqual(root, { kind: "initrd", path: `${lowers[0]}/initrd` });
  assert.deepEqual(mounts, [
    { disk: { name: "annot_vol", path: `${tree}/data.img`, readonly: false }, at: "/data" },
  ]);
  assert.equal(made?.overlay, false);
});

test("a root file system that stands already is used where it stands", async (t) => {
  const [rootfs] = layers(t, { kernel: bzImage, "root.img": "bytes" });
  assert.ok(rootfs !== undefined);
  const disk = { path: untrustedPath("/root.img"), mountPoint: "/" };
  const { makeTree: _made, ...source } = sourceOf([rootfs], { disk }, { tree: rootfs, readonlyRoot: true });
  const workload = await unikernelWorkload(source);
  assert.deepEqual(workload.root, {
    kind: "disk",
    disk: { name: "rootfs", path: `${rootfs}/root.img`, readonly: true },
  });
  assert.equal(workload.tree, undefined);
  const snapshot = {
    device: hostPath("/dev/mapper/snap"),
    fileSystem: "ext4",
    readonly: false,
    at: rootfs,
    stateDir: hostPath("/run/a"),
  };
  const { root, kernel, taken } = await unikernelWorkload({
    ...source,
    offer: { ...plainOffer, guest: "linux", mountRootfs: true },
    snapshot,
  });
  assert.deepEqual(root, {
    kind: "disk",
    disk: { name: "rootfs", path: "/dev/mapper/snap", readonly: true, device: true },
  });
  assert.equal(kernel, "/run/a/kernel");
  assert.deepEqual(taken, { at: rootfs, copies: [{ from: `${rootfs}/kernel`, at: "kernel" }] });
});

test("what the image names must be there, and be what it should be", async (t) => {
  const lowers = layers(t, { kernel: bzImage, script: "#!/bin/sh\n", "etc/passwd": "app:x:7:8::/:\n" });
  const of = (offer: Partial<UnikernelSource["offer"]>, change: Partial<UnikernelSource> = {}) =>
    sourceOf(lowers, offer, change);
  await refuses(of({ kernel: untrustedPath("/none") }), "kernel-invalid", /"\/none" is not a regular file/);
  await refuses(of({ kernel: untrustedPath("/script") }), "kernel-invalid", /script/);
  await refuses(of({ arch: "arm64" }), "kernel-invalid", /is for amd64, not for arm64/);
  await refuses(
    of({ mountRootfs: true }),
    "no-fit",
    /web: linux guests take .* here is no share and no disk/,
  );
  const gone = { path: untrustedPath("/../gone"), mountPoint: "/" };
  await refuses(of({ disk: gone }), "kernel-invalid", /gone" is not a regular file/);
  assert.deepEqual((await unikernelWorkload(of({}, { user: "app" }))).user, { uid: 7, gid: 8 });
  await refuses(of({}, { user: "nobody-there" }), "image-invalid", /nobody-there/);
});

test("an accelerator of the host needs the operator's word, and an agent that the monitor's user may call", async (t) => {
  const lowers = layers(t, { kernel: bzImage });
  const [directory] = layers(t, { "vaccel.sock_9": "no socket" });
  assert.ok(directory !== undefined);
  const of = (port: number, change: Partial<UnikernelSource> = {}) =>
    sourceOf(
      lowers,
      { vaccel: { port, socketDir: directory } },
      { allowVaccel: true, monitor: "firecracker", program: hostPath("/bin/sh"), ...change },
    );
  await refuses(of(2048, { allowVaccel: false }), "no-fit", /not allowed here/);
  await refuses(of(2048), "no-fit", /no vAccel agent listens at .*\/vaccel\.sock_2048/);
  await refuses(of(9), "no-fit", /no vAccel agent listens/);
  const agent = createServer();
  t.after(() => agent.close());
  const socket = join(directory, "vaccel.sock_2048");
  await new Promise<void>((resolve) => agent.listen(socket, resolve));
  chmodSync(socket, 0o755);
  await refuses(of(2048), "no-fit", /is closed to the monitor, which runs as an unprivileged user/);
  chmodSync(socket, 0o766);
  const workload = await unikernelWorkload(of(2048));
  assert.deepEqual(workload.vsock, { cid: ownNumber("web"), port: 2048, socket });
  assert.ok(workload.resolved?.has(hostPath(socket)));
  assert.deepEqual(workload.env, ["A=1", "VACCEL_RPC_ADDRESS=vsock://2:2048"]);
  const deaf = sourceOf(
    lowers,
    { guest: "hermit", vaccel: { port: 2048, socketDir: directory } },
    { allowVaccel: true, monitor: "qemu" },
  );
  await refuses(deaf, "no-fit", /hermit guests take no variables/);
});

test("the files that were found are told by their real paths, links above the root file system resolved", async (t) => {
  const [layer] = layers(t, { "boot/kernel": bzImage, kernel: "-> /boot/kernel", initrd: "i" });
  assert.ok(layer !== undefined);
  const link = hostPath(`${layer}-link`);
  symlinkSync(layer, link);
  const { kernel, resolved } = await unikernelWorkload(
    sourceOf([link], { kernel: untrustedPath("/kernel"), initrd: untrustedPath("/initrd") }),
  );
  assert.equal(kernel, `${layer}/boot/kernel`);
  assert.deepEqual(resolved, new Set([`${layer}/boot/kernel`, `${layer}/initrd`]));
});
