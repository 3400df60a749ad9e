import assert from "node:assert/strict";
import { test } from "node:test";
import { hostPath } from "../spec/paths.ts";
import { deviceMountOf } from "./mounts.ts";

const table = String.raw`27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
31 27 253:1 / /run/a\040b rw,nosuid shared:3 master:1 - ext4 /dev/mapper/snap ro,stripe=16
32 27 253:2 /sub /run/part rw - ext4 /dev/mapper/other rw
33 27 0:40 / /run/overlay rw - overlay overlay rw
34 27 253:3 / /run/twice rw - ext4 /dev/dm-3 rw
35 34 253:4 / /run/twice rw - ext2 /dev/dm-4 rw
`;

const at = (path: string): unknown => deviceMountOf(hostPath(path), table);

test("a place is a device's where the whole of its file system is mounted there, the last mount counting", () => {
  assert.deepEqual(at("/run/a b"), { device: "/dev/mapper/snap", fileSystem: "ext4", readonly: true });
  assert.deepEqual(at("/run/twice"), { device: "/dev/dm-4", fileSystem: "ext2", readonly: false });
  for (const other of ["/run/part", "/run/overlay", "/run", "/nowhere"])
    assert.equal(at(other), undefined, other);
});
