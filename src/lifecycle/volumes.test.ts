import assert from "node:assert/strict";
import { test } from "node:test";
import { hostPath, sandboxPath } from "../spec/paths.ts";
import type { GuestRoot } from "../spec/values.ts";
import { type HostVolume, withVolumes } from "./volumes.ts";

const volume = (at: string, file?: HostVolume["file"]): HostVolume => ({
  from: hostPath(`/host${at}`),
  at: sandboxPath(at),
  readonly: true,
  recursive: true,
  ...(file === undefined ? {} : { file }),
});
const small = { mode: 0o640, sizeBytes: 9 };
const share: GuestRoot = { kind: "9p", path: hostPath("/b/rootfs"), readonly: false };
const initrd: GuestRoot = { kind: "initrd", path: hostPath("/b/rootfs/initrd") };
const disk: GuestRoot = {
  kind: "disk",
  disk: { name: "rootfs", path: hostPath("/dev/dm-1"), readonly: false },
};

test("a root that is a directory has all of them, but for those that the guest's own file systems hide", () => {
  const { root, files } = withVolumes(
    share,
    [volume("/etc/hosts", small), volume("/dev/shm"), volume("/data")],
    "linux",
  );
  const { file: _file, ...hosts } = volume("/etc/hosts", small);
  assert.deepEqual(root, { ...share, volumes: [hosts, volume("/data")] });
  assert.deepEqual(files, []);
  assert.equal(withVolumes(share, [volume("/proc/x")], "linux").root, share);
});

test("into an initrd files are copied, and a directory is refused unless every container is given it", () => {
  const { root, files } = withVolumes(
    initrd,
    [volume("/etc/app.conf", small), volume("/run/secrets")],
    "linux",
  );
  assert.equal(root, initrd);
  assert.deepEqual(files, [
    { at: "/etc/app.conf", mode: 0o640, content: { path: "/host/etc/app.conf", sizeBytes: 9 } },
  ]);
  assert.throws(
    () => withVolumes(initrd, [volume("/data")], "linux"),
    /the volume \/data \(\/host\/data\) is a directory/,
  );
  assert.throws(
    () => withVolumes(initrd, [volume("/big", { mode: 0o644, sizeBytes: 1 << 21 })], "linux"),
    /2097152 bytes/,
  );
});

test("a guest without either refuses what somebody asked for, and does without what engines always give", () => {
  for (const [root, guest] of [
    [disk, "linux"],
    [{ kind: "none" }, "solo5"],
    [initrd, "unikraft"],
  ] as const) {
    const given = [
      volume("/etc/hosts", small),
      volume("/etc/resolv.conf", small),
      volume("/dev/termination-log", small),
      volume("/var/run/secrets/kubernetes.io/serviceaccount"),
    ];
    assert.deepEqual(withVolumes(root, given, guest), { root, files: [] });
    for (const asked of [volume("/data"), volume("/etc/app.conf", small)])
      assert.throws(() => withVolumes(root, [asked], guest), /no directory of the host/);
  }
});
