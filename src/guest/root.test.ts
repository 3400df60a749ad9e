import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { sptOffer } from "../spec/fixtures.ts";
import { untrustedPath } from "../spec/paths.ts";
import { guestKinds, shareKinds } from "../spec/values.ts";
import { guestDriver } from "./index.ts";
import { type RootChoice, type RootInput, rootOf } from "./root.ts";

type Image = Pick<RootInput["offer"], "initrd" | "disk" | "mountRootfs">;

function choose(
  kind: (typeof guestKinds)[number],
  image: Image,
  around: Partial<Pick<RootInput, "shares" | "snapshot">> = {},
): RootChoice {
  const guest = guestDriver(kind);
  assert.ok(guest !== undefined);
  return rootOf({ offer: { ...sptOffer, guest: kind, ...image }, guest, shares: [], ...around });
}

const initrd = untrustedPath("/initrd");
const disk = (mountPoint: string) => ({ path: untrustedPath("/disk"), mountPoint });

test("the order: initrd, disk for /, the device of the root, virtiofs, 9p, none", () => {
  const all = { initrd, disk: disk("/"), mountRootfs: true } as const;
  const { initrd: _i, ...noInitrd } = all;
  const { disk: _d, ...onlyMount } = noInitrd;
  const here = { shares: shareKinds, snapshot: "ext4" } as const;
  assert.deepEqual(choose("linux", all, here), { kind: "initrd" });
  assert.deepEqual(choose("linux", noInitrd, here), { kind: "disk", disk: "image" });
  assert.deepEqual(choose("linux", onlyMount, here), { kind: "disk", disk: "snapshot" });
  assert.deepEqual(choose("linux", onlyMount, { ...here, snapshot: "xfs" }), { kind: "virtiofs" });
  assert.deepEqual(choose("linux", onlyMount, { shares: ["9p"] }), { kind: "9p" });
  assert.deepEqual(choose("linux", { disk: disk("/data") }, here), { kind: "none" });
  assert.deepEqual(choose("unikraft", onlyMount, here), { kind: "9p" });
  assert.deepEqual(choose("rumprun", onlyMount, { snapshot: "ext2" }), { kind: "disk", disk: "snapshot" });
});

const because = (choice: RootChoice): string => ("because" in choice ? choice.because : choice.kind);

test("what a guest cannot use is a reason, with what it could", () => {
  assert.equal(because(choose("mirage", { initrd })), "mirage guests take no initrd");
  assert.equal(
    because(choose("unikraft", { disk: disk("/") })),
    "unikraft guests cannot have their root on a disk",
  );
  assert.equal(
    because(choose("hermit", {})),
    "hermit guests need initrd for their root, and the image has none",
  );
  assert.equal(
    because(choose("mewz", { mountRootfs: true }, { shares: shareKinds })),
    "mewz guests cannot have the image's root file system",
  );
  assert.equal(
    because(choose("rumprun", { mountRootfs: true }, { shares: shareKinds, snapshot: "ext4" })),
    "rumprun guests take the image's root file system by a disk with ext2, and here is 9p and virtiofs and a disk with ext4",
  );
  assert.equal(
    because(choose("linux", { mountRootfs: true })),
    "linux guests take the image's root file system by virtiofs or 9p or a disk with ext4, ext3, ext2, and here is no share and no disk",
  );
});

test("property: what is chosen, the guest takes and the monitor gives; what the image states is never passed over", () => {
  const image = fc.record({
    initrd: fc.option(fc.constant(initrd), { nil: undefined }),
    disk: fc.option(fc.constantFrom("/", "/data").map(disk), { nil: undefined }),
    mountRootfs: fc.option(fc.constant(true as const), { nil: undefined }),
  });
  const snapshots = fc.option(fc.constantFrom("ext2", "ext4", "xfs"), { nil: undefined });
  fc.assert(
    fc.property(
      fc.constantFrom(...guestKinds),
      image,
      fc.subarray([...shareKinds]),
      snapshots,
      (kind, { initrd: file, disk: image_, mountRootfs }, shares, snapshot) => {
        const stated: Image = {
          ...(file === undefined ? {} : { initrd: file }),
          ...(image_ === undefined ? {} : { disk: image_ }),
          ...(mountRootfs === undefined ? {} : { mountRootfs }),
        };
        const choice = choose(kind, stated, { shares, ...(snapshot === undefined ? {} : { snapshot }) });
        if ("because" in choice) return assert.notEqual(choice.because, "");
        assert.ok(guestDriver(kind)?.roots.includes(choice.kind));
        if (choice.kind === "9p" || choice.kind === "virtiofs") assert.ok(shares.includes(choice.kind));
        if (choice.kind === "none") assert.ok(file === undefined && mountRootfs === undefined);
      },
    ),
  );
});
