import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { defaultPolicy } from "../spec/config.ts";
import {
  allOffers,
  containerOffer,
  hvtOffer,
  manifest,
  pvhOffer,
  richFacts,
  sptOffer,
} from "../spec/fixtures.ts";
import { hostPath, untrustedPath } from "../spec/paths.ts";
import type { MonitorFeatures, Supports } from "../spec/support.ts";
import {
  type Decision,
  type Facts,
  type FittingVerdict,
  type Kvm,
  type Offer,
  type Policy,
  type PolicyChoice,
  type Wish,
  arches,
  guestKinds,
  modes,
  monitorKinds,
  ociRuntimeKinds,
} from "../spec/values.ts";
import { matchesPattern } from "./demand.ts";
import { reasonTable } from "./reasons.ts";
import { type SelectInput, leastContainerBytes, select } from "./select.ts";

// Declared as the drivers declare themselves; src/monitor has the real ones, which select may not import.
const supports: Supports = [
  { kind: "hvt", guests: { solo5: ["amd64", "arm64"] }, kvm: "required", taps: "fd", shares: [] },
  { kind: "spt", guests: { solo5: ["amd64", "arm64"] }, kvm: "unused", taps: "fd", shares: [] },
  { kind: "qemu", guests: { pvh: ["amd64"] }, kvm: "optional", taps: "fd", shares: [] },
];

const base: SelectInput = {
  image: "docker.io/library/httpreply:latest",
  digests: [],
  offers: allOffers,
  facts: richFacts,
  wish: { mode: "auto" },
  policy: defaultPolicy,
  supports,
};

const withKvm = (can: Kvm): Facts => ({ ...richFacts, kvm: { can, evidence: "seen" } });
const chosenBy = (decision: Decision): string | undefined =>
  decision.chosen === undefined ? undefined : `${decision.chosen.offer.mode}/${decision.chosen.by}`;
const refusal = (decision: Decision, by: string): string | undefined => {
  const verdict = decision.verdicts.find((entry) => entry.by === by);
  return verdict?.fits === false ? verdict.because.code : undefined;
};

test("the strongest isolation at hardware speed is chosen, and falls back as facts go", () => {
  assert.equal(chosenBy(select(base)), "unikernel/hvt");
  assert.equal(chosenBy(select({ ...base, offers: [containerOffer, sptOffer, pvhOffer] })), "unikernel/qemu");
  assert.equal(chosenBy(select({ ...base, facts: withKvm("tiny") })), "unikernel/spt");
  assert.equal(chosenBy(select({ ...base, facts: withKvm("none") })), "unikernel/spt");
  assert.equal(
    chosenBy(select({ ...base, facts: withKvm("none"), offers: [containerOffer, pvhOffer] })),
    "container/runc",
  );
});

test("a tiny KVM serves hvt only when it is asked for, and never makes QEMU more than an emulator", () => {
  const facts = withKvm("tiny");
  assert.equal(refusal(select({ ...base, facts }), "hvt"), "kvm-tiny");
  const asked = select({ ...base, facts, wish: { mode: "auto", monitor: "hvt" } });
  assert.equal(chosenBy(asked), "unikernel/hvt");
  assert.equal(asked.chosen?.speed, "hardware");
  const qemu = select({ ...base, facts, wish: { mode: "auto", monitor: "qemu" } });
  assert.equal(qemu.chosen?.speed, "emulated");
  const rest: MonitorFeatures = {
    kind: "firecracker",
    guests: { linux: ["amd64"], pvh: ["amd64"] },
    kvm: "required",
    taps: "name",
    shares: [],
  };
  for (const [guest, refused] of [
    ["linux", "kvm-too-small"],
    ["pvh", undefined],
  ] as const) {
    const offers = [{ ...pvhOffer, guest }];
    const decision = select({
      ...base,
      facts,
      offers,
      supports: [rest],
      wish: { mode: "auto", monitor: "firecracker" },
    });
    assert.equal(refused === undefined ? undefined : refusal(decision, "firecracker"), refused);
    assert.equal(decision.chosen !== undefined, refused === undefined);
  }
  const none = select({ ...base, facts: withKvm("none"), wish: { mode: "auto", monitor: "hvt" } });
  assert.equal(none.chosen, undefined);
  assert.equal(refusal(none, "hvt"), "kvm-none");
});

test("emulation allowed by the policy ranks behind everything that is not emulated", () => {
  const policy = { ...defaultPolicy, allowEmulation: true };
  const decision = select({ ...base, policy, facts: withKvm("none") });
  assert.equal(chosenBy(decision), "unikernel/spt");
  const fitting = decision.verdicts.filter((verdict) => verdict.fits).toSorted((a, b) => a.rank - b.rank);
  assert.equal(fitting.at(-1)?.by, "qemu");
});

test("a guest that calls an accelerator runs by a monitor whose vsock ends where the agent listens", () => {
  const features = { guests: { pvh: ["amd64"] }, kvm: "optional", taps: "fd", shares: [] } as const;
  const decideFor = (vaccel: NonNullable<typeof pvhOffer.vaccel>) =>
    select({
      ...base,
      offers: [{ ...pvhOffer, monitors: ["firecracker", "cloud-hypervisor", "qemu"], vaccel }],
      supports: [
        { ...features, kind: "firecracker", vsock: "socket" },
        { ...features, kind: "cloud-hypervisor" },
        { ...features, kind: "qemu", vsock: "kernel" },
      ],
    });
  const byPort = decideFor({ port: 2048 });
  assert.equal(chosenBy(byPort), "unikernel/qemu");
  assert.equal(refusal(byPort, "firecracker"), "vsock-unsupported");
  const bySocket = decideFor({ port: 2048, socketDir: hostPath("/run/vaccel") });
  assert.equal(chosenBy(bySocket), "unikernel/firecracker");
  assert.equal(refusal(bySocket, "qemu"), "vsock-unsupported");
  assert.equal(refusal(bySocket, "cloud-hypervisor"), "vsock-unsupported");
});

test("a demand on an image restricts its modes, the first match alone", () => {
  const policy: Policy = {
    ...defaultPolicy,
    demands: [
      { image: "docker.io/library/*", modes: ["container"] },
      { image: "*", modes: [] },
    ],
  };
  assert.equal(chosenBy(select({ ...base, policy })), "container/runc");
  const other = select({ ...base, policy, image: "ghcr.io/x" });
  assert.equal(other.chosen, undefined);
  assert.equal(refusal(other, "spt"), "demand-forbids");
});

const code = (input: Partial<SelectInput>, by: string): string | undefined =>
  refusal(select({ ...base, ...input }), by);
const having = (change: Partial<Facts>): Partial<SelectInput> => ({ facts: { ...richFacts, ...change } });

test("each refusal has its own reason", () => {
  assert.equal(code({ wish: { mode: "container" } }, "spt"), "mode-not-wished");
  assert.equal(code({ wish: { mode: "auto", monitor: "spt" } }, "runc"), "monitor-not-wished");
  assert.equal(code({ wish: { mode: "auto", arch: "arm64" } }, "runc"), "arch-not-wished");
  assert.equal(code({ wish: { mode: "auto", containerOnly: "-v" } }, "spt"), "container-only");
  assert.equal(code({ wish: { mode: "auto", containerOnly: "-v" } }, "runc"), undefined);
  assert.equal(code({ policy: { ...defaultPolicy, order: ["container"] } }, "spt"), "policy-forbids");
  assert.equal(code(having({ arch: "arm64" }), "spt"), "arch-differs");
  assert.equal(code({}, "firecracker"), "driver-missing");
  assert.equal(code({ offers: [{ ...sptOffer, guest: "mirage" }] }, "spt"), "guest-unsupported");
  assert.equal(
    code({ ...having({ arch: "arm64" }), offers: [{ ...pvhOffer, arch: "arm64" }] }, "qemu"),
    "monitor-arch-unsupported",
  );
  const missing = { ...richFacts.monitors, spt: { missing: "not built" } };
  assert.equal(code(having({ monitors: missing }), "spt"), "program-missing");
  assert.equal(
    code(having({ ociRuntimes: { ...richFacts.ociRuntimes, runc: { missing: "no runc" } } }), "runc"),
    "runtime-missing",
  );
  const noTaps = supports.map((entry): MonitorFeatures => ({ ...entry, taps: "none" }));
  assert.equal(code({ supports: noTaps }, "spt"), "program-no-network");
  assert.equal(code(having({ tun: false }), "spt"), "tun-missing");
  assert.equal(code(having({ cgroups: "none" }), "runc"), "cgroups-missing");
  assert.equal(code({ wish: { mode: "auto", memoryBytes: 1024 } }, "spt"), "memory-too-small");
  assert.equal(
    code({ wish: { mode: "auto", memoryBytes: leastContainerBytes - 1 } }, "runc"),
    "memory-too-small",
  );
  assert.equal(code({ wish: { mode: "auto", memoryBytes: leastContainerBytes } }, "runc"), undefined);
  assert.equal(code({ wish: { mode: "auto", memoryBytes: 2 ** 40 } }, "runc"), "memory-too-large");
  assert.equal(code(having({ kvm: { can: "none", evidence: "" } }), "hvt"), "kvm-none");
  assert.equal(code(having({ kvm: { can: "none", evidence: "" } }), "qemu"), "emulation-forbidden");
});

// Arbitrary inputs.

const offers: fc.Arbitrary<Offer> = fc.oneof(
  fc.record({
    mode: fc.constant("container" as const),
    arch: fc.constantFrom(...arches),
    manifest: fc.constant(manifest("a")),
  }),
  fc.record(
    {
      mode: fc.constant("unikernel" as const),
      arch: fc.constantFrom(...arches),
      manifest: fc.constant(manifest("b")),
      guest: fc.constantFrom(...guestKinds.slice(0, 3)),
      monitors: fc.array(fc.constantFrom(...monitorKinds), { maxLength: 4 }),
      kernel: fc.constant(untrustedPath("/kernel")),
      minMemoryBytes: fc.integer({ min: 1, max: 2 ** 34 }),
      netDevices: fc.array(fc.constant("net0"), { maxLength: 2 }),
    },
    { requiredKeys: ["mode", "arch", "manifest", "guest", "monitors", "kernel"] },
  ),
);

const maybe = <T>(value: T) => fc.constantFrom<T | { missing: string }>(value, { missing: "not here" });
const facts: fc.Arbitrary<Facts> = fc
  .record({
    arch: fc.constantFrom(...arches),
    kvm: fc.constantFrom<Kvm[]>("none", "tiny", "linux").map((can) => ({ can, evidence: "seen" })),
    monitors: fc.record({
      hvt: maybe(richFacts.monitors.hvt),
      spt: maybe(richFacts.monitors.spt),
      qemu: maybe(richFacts.monitors.qemu),
      firecracker: maybe(richFacts.monitors.firecracker),
      "cloud-hypervisor": maybe(richFacts.monitors["cloud-hypervisor"]),
    }),
    ociRuntimes: fc.record({
      runc: maybe(richFacts.ociRuntimes.runc),
      crun: maybe(richFacts.ociRuntimes.crun),
    }),
    cgroups: fc.constantFrom<Facts["cgroups"][]>("v1", "v2", "hybrid", "none"),
    tun: fc.boolean(),
  })
  .map((some): Facts => ({ ...richFacts, ...some }));

const wishes: fc.Arbitrary<Wish> = fc.record(
  {
    mode: fc.constantFrom(...modes, "auto" as const),
    monitor: fc.constantFrom(...monitorKinds),
    arch: fc.constantFrom(...arches),
    memoryBytes: fc.integer({ min: 1, max: 2 ** 35 }),
  },
  { requiredKeys: ["mode"] },
);

const choices: readonly PolicyChoice[] = [
  ...modes,
  ...monitorKinds.map((kind): PolicyChoice => `unikernel/${kind}`),
];
const policies: fc.Arbitrary<Policy> = fc.record({
  order: fc.shuffledSubarray([...choices], { minLength: 1 }),
  allowEmulation: fc.boolean(),
  demands: fc.array(
    fc.record({
      image: fc.constantFrom("*", "docker.io/*", "other/*", base.image),
      modes: fc.subarray([...modes]),
    }),
    { maxLength: 3 },
  ),
});

const inputs: fc.Arbitrary<SelectInput> = fc.record({
  image: fc.constant(base.image),
  digests: fc.constant([]),
  offers: fc.array(offers, { maxLength: 5 }),
  facts,
  wish: wishes,
  policy: policies,
  supports: fc.subarray([...supports]),
});

const fitting = (decision: Decision): FittingVerdict[] => decision.verdicts.filter((verdict) => verdict.fits);

test("property: every offer by every runner has exactly one verdict, and every reason is in the table", () => {
  fc.assert(
    fc.property(inputs, (input) => {
      const { verdicts } = select(input);
      const wanted = input.offers.flatMap((offer) =>
        (offer.mode === "container" ? ociRuntimeKinds : [...new Set(offer.monitors)]).map((by) => [
          offer,
          by,
        ]),
      );
      assert.deepEqual(
        verdicts.map(({ offer, by }) => [offer, by]),
        wanted,
      );
      for (const verdict of verdicts)
        if (!verdict.fits) assert.ok(Object.hasOwn(reasonTable, verdict.because.code));
    }),
  );
});

test("property: the same input gives the same decision, and no input is changed", () => {
  fc.assert(
    fc.property(inputs, (input) => {
      const before = JSON.stringify(input);
      assert.equal(JSON.stringify(select(input)), JSON.stringify(select(structuredClone(input))));
      assert.equal(JSON.stringify(input), before);
    }),
  );
});

test("property: the chosen has the least rank, ranks are 0, 1, 2 …, and nothing is chosen only when nothing fits", () => {
  fc.assert(
    fc.property(inputs, (input) => {
      const decision = select(input);
      const ranks = fitting(decision)
        .map(({ rank }) => rank)
        .toSorted((a, b) => a - b);
      assert.deepEqual(
        ranks,
        ranks.map((_, index) => index),
      );
      assert.equal(decision.chosen?.rank, ranks[0]);
      if (decision.chosen !== undefined) assert.ok(decision.verdicts.includes(decision.chosen));
    }),
  );
});

test("property: it fails closed: what was demanded is what one gets, or nothing", () => {
  fc.assert(
    fc.property(inputs, (input) => {
      const { wish, policy } = input;
      for (const { offer, by, speed } of fitting(select(input))) {
        if (wish.mode !== "auto") assert.equal(offer.mode, wish.mode);
        if (wish.monitor !== undefined) assert.equal(by, wish.monitor);
        assert.equal(offer.arch, input.facts.arch);
        const demand = policy.demands.find(({ image }) => matchesPattern(image, input.image));
        if (demand !== undefined) assert.ok(demand.modes.includes(offer.mode));
        assert.ok(policy.order.some((choice) => choice === offer.mode || choice === `${offer.mode}/${by}`));
        if (speed === "emulated") assert.ok(policy.allowEmulation || wish.monitor === by);
      }
    }),
  );
});

const weaken = (given: Facts, what: number): Facts => {
  const monitor = monitorKinds[what % monitorKinds.length] ?? "hvt";
  const gone = { missing: "taken away" };
  const weaker: Facts[] = [
    { ...given, kvm: { ...given.kvm, can: given.kvm.can === "linux" ? "tiny" : "none" } },
    { ...given, monitors: { ...given.monitors, [monitor]: gone } },
    { ...given, ociRuntimes: { ...given.ociRuntimes, runc: gone } },
    { ...given, cgroups: "none" },
    { ...given, tun: false },
    { ...given, memoryBytes: Math.floor(given.memoryBytes / 16) },
  ];
  return weaker[what % weaker.length] ?? given;
};

test("property: taking a fact away never makes a refused runner fit", () => {
  fc.assert(
    fc.property(inputs, fc.nat(59), (input, what) => {
      const before = select(input).verdicts;
      const after = select({ ...input, facts: weaken(input.facts, what) }).verdicts;
      for (const [index, verdict] of before.entries())
        if (!verdict.fits) assert.equal(after[index]?.fits, false);
    }),
  );
});

test("property: the order of the offers decides only between equals", () => {
  fc.assert(
    fc.property(
      inputs.chain((input) =>
        fc.tuple(
          fc.constant(input),
          fc.shuffledSubarray([...input.offers], { minLength: input.offers.length }),
        ),
      ),
      ([input, shuffled]) => {
        assert.deepEqual(chosenBy(select({ ...input, offers: shuffled })), chosenBy(select(input)));
      },
    ),
  );
});

test("property: a pattern matches exactly what the regular expression of its meaning matches", () => {
  const letters = fc.string({ unit: fc.constantFrom("a", "b", "/", "*"), maxLength: 8 });
  fc.assert(
    fc.property(
      letters,
      fc.string({ unit: fc.constantFrom("a", "b", "/"), maxLength: 10 }),
      (pattern, name) => {
        const meaning = new RegExp(`^${pattern.replaceAll("*", ".*")}$`);
        assert.equal(matchesPattern(pattern, name), meaning.test(name));
      },
    ),
    { numRuns: 2000 },
  );
});

test("hvtOffer stands alone", () => {
  assert.equal(chosenBy(select({ ...base, offers: [hvtOffer], facts: withKvm("tiny") })), undefined);
});

const noRootBySpt: SelectInput["againstRoot"] = (_, { kind }) =>
  kind === "spt" ? "no root here" : undefined;

test("a root that guest and monitor cannot have is a reason against that monitor alone", () => {
  const decision = select({ ...base, offers: [sptOffer, hvtOffer], againstRoot: noRootBySpt });
  assert.equal(refusal(decision, "spt"), "root-unsupported");
  assert.equal(chosenBy(decision), "unikernel/hvt");
});
