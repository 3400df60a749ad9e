import assert from "node:assert/strict";
import { test } from "node:test";
import { TripodError } from "../../spec/errors.ts";
import { deriveConfig, hasNewParts } from "./derive.ts";

const old = { ociVersionMax: "1.0.2-dev", namespaces: ["pid", "mount"] };
const today = { ociVersionMax: "1.3.0", namespaces: ["pid", "mount", "time"] };
const bundle = {
  ociVersion: "1.2.1",
  root: { path: "rootfs", readonly: true },
  process: { args: ["sh"], scheduler: { policy: "SCHED_OTHER" } },
  mounts: [
    { destination: "/proc", type: "proc", source: "proc" },
    { destination: "/etc/hosts", type: "bind", source: "hosts", options: ["rbind"] },
  ],
  linux: { namespaces: [{ type: "pid" }, { type: "time" }], timeOffsets: null, maskedPaths: ["/x"] },
};

test("an older runtime gets the bundle without the parts that it does not know, with paths that hold from elsewhere", () => {
  const derived = deriveConfig(bundle, "/b", old);
  assert.deepEqual(derived?.config, {
    ...bundle,
    ociVersion: "1.0.2-dev",
    root: { path: "/b/rootfs", readonly: true },
    mounts: [bundle.mounts[0], { ...bundle.mounts[1], source: "/b/hosts" }],
    linux: { namespaces: [{ type: "pid" }], maskedPaths: ["/x"] },
  });
  assert.match(derived?.notes.join("; ") ?? "", /time namespace.*1\.2\.1 became 1\.0\.2-dev/);
});

test("a runtime of today gets the bundle as it is", () => {
  assert.equal(deriveConfig(bundle, "/b", today), undefined);
  // A number alone: hooks and state are to tell the caller's bundle.
  assert.equal(deriveConfig({ ...bundle, linux: { namespaces: [] } }, "/b", old), undefined);
  assert.equal(hasNewParts({ ociVersion: "1.0.2-dev" }), false);
  assert.equal(hasNewParts({ ociVersion: "1.2.1" }), true);
  assert.equal(hasNewParts({ ociVersion: "1.0.2", linux: { namespaces: [{ type: "time" }] } }), true);
});

test("a clock that is set off is refused rather than left out", () => {
  for (const linux of [
    { namespaces: [{ type: "time" }], timeOffsets: { monotonic: { secs: 5 } } },
    { namespaces: [{ type: "time", path: "/proc/1/ns/time" }] },
  ])
    assert.throws(
      () => deriveConfig({ ...bundle, linux }, "/b", old),
      (error) =>
        error instanceof TripodError && error.code === "bundle-invalid" && /time/.test(error.message),
    );
});
