import assert from "node:assert/strict";
import { test } from "node:test";
import { defaultPolicy } from "../spec/config.ts";
import { allOffers, containerOffer, richFacts, sptOffer } from "../spec/fixtures.ts";
import type { Supports } from "../spec/support.ts";
import type { Facts, Wish } from "../spec/values.ts";
import { explainRows, noFit, sentence } from "./explain.ts";
import { because, reason, reasonTable } from "./reasons.ts";
import { type SelectInput, select } from "./select.ts";

const supports: Supports = [
  { kind: "hvt", guests: { solo5: ["amd64"] }, kvm: "required", taps: "fd", shares: [] },
  { kind: "spt", guests: { solo5: ["amd64"] }, kvm: "unused", taps: "fd", shares: [] },
  { kind: "qemu", guests: { pvh: ["amd64"] }, kvm: "optional", taps: "fd", shares: [] },
];
const tiny: Facts = { ...richFacts, kvm: { can: "tiny", evidence: "a tiny guest ran" } };
const decide = (change: Partial<SelectInput> = {}) =>
  select({
    image: "httpreply",
    digests: [],
    offers: allOffers,
    facts: tiny,
    wish: { mode: "auto" },
    policy: defaultPolicy,
    supports,
    ...change,
  });

test("one line says which and why, and why not the stronger ones", () => {
  assert.equal(
    sentence(decide()),
    "unikernel by spt: strongest isolation that runs at full speed here (hvt: KVM runs only tiny guests; qemu: without a KVM that runs Linux it would be emulated in software)",
  );
  assert.equal(
    sentence(decide({ facts: richFacts })),
    "unikernel by hvt: strongest isolation that runs at full speed here",
  );
});

test("a wish is answered as a wish, without telling the asker what they excluded", () => {
  const wish: Wish = { mode: "container" };
  assert.equal(
    sentence(decide({ wish }), wish),
    "container by runc: asked for, the policy's first choice of 2",
  );
  const monitor: Wish = { mode: "auto", monitor: "hvt" };
  assert.equal(
    sentence(decide({ wish: monitor }), monitor),
    "unikernel by hvt: asked for, virtual machine by KVM",
  );
});

test("rows hold every verdict, the chosen first", () => {
  const rows = explainRows(decide());
  assert.equal(rows.length, 6);
  assert.deepEqual(
    rows.map(({ chosen, by, place, why }) => [chosen, by, place, why]),
    [
      [true, "spt", 1, "full speed"],
      [false, "runc", 2, "full speed"],
      [false, "crun", 3, "full speed"],
      [false, "hvt", undefined, "KVM runs only tiny guests"],
      [false, "qemu", undefined, "without a KVM that runs Linux it would be emulated in software"],
      [false, "firecracker", undefined, "Tripod cannot drive firecracker yet"],
    ],
  );
});

const error = (change: Partial<SelectInput>) =>
  noFit("httpreply", decide(change), change.wish ?? { mode: "auto" });

test("when nothing fits, the error has the most telling code, every reason and a remedy", () => {
  const hvt = error({
    wish: { mode: "auto", monitor: "hvt" },
    facts: { ...tiny, kvm: { can: "none", evidence: "no /dev/kvm" } },
  });
  assert.equal(hvt.code, "kvm-unavailable");
  assert.match(hvt.message, /^httpreply does not run by hvt here: hvt: it needs KVM \(no \/dev\/kvm\)/);
  const missing = { missing: "runc is not installed" };
  const container = error({
    wish: { mode: "container" },
    facts: { ...tiny, ociRuntimes: { runc: missing, crun: { missing: "crun is not installed" } } },
  });
  assert.equal(container.code, "monitor-missing");
  assert.match(container.message, /runc is not installed; crun: crun is not installed/);
  const memory = error({ wish: { mode: "unikernel", memoryBytes: 1024 }, offers: [sptOffer] });
  assert.equal(memory.code, "memory-too-small");
  assert.equal(memory.hint, "-m 4Mi");
  const limit = error({ wish: { mode: "auto", memoryBytes: 1 << 20 }, offers: [containerOffer] });
  assert.equal(limit.code, "memory-too-small");
  assert.match(limit.message, /it needs 6Mi of memory, 1Mi was asked for/);
  assert.equal(limit.hint, "-m 6Mi");
  const mode = error({ wish: { mode: "unikernel" }, offers: [containerOffer] });
  assert.equal(mode.code, "no-fit");
  assert.match(mode.message, /does not run as a unikernel here: it offers container$/);
  assert.match(error({ offers: [] }).message, /offers no way to run/);
});

test("every code of the table makes a sentence and, where it has one, a remedy", () => {
  for (const code of Object.keys(reasonTable) as (keyof typeof reasonTable)[]) {
    const made = reason(code, "subject");
    assert.ok(because(made).length > 5);
    assert.notEqual(made.remedy, "");
  }
});
