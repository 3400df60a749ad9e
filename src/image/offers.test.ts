import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Annotations, type Descriptor, mediaTypes } from "../spec/oci.ts";
import { type OfferSource, readOffers } from "./offers.ts";
import { guestDriver } from "../guest/index.ts";
import { TripodError } from "../spec/errors.ts";
import { dualStack } from "../spec/fixtures.ts";
import { hostPath } from "../spec/paths.ts";
import { everyEntry, runnableOn } from "./platform.ts";

const base64 = (text: string): string => Buffer.from(text).toString("base64");
const urunc = (type: string, hypervisor: string, more: Annotations = {}): Annotations => ({
  "com.urunc.unikernel.unikernelType": type,
  "com.urunc.unikernel.hypervisor": hypervisor,
  "com.urunc.unikernel.binary": "/kernel",
  ...more,
});
const own = (monitors: string): Annotations => ({
  "dev.tripod.mode": "unikernel",
  "dev.tripod.guest": "solo5",
  "dev.tripod.monitors": monitors,
  "dev.tripod.kernel": "/own",
});

function descriptor(platform: string | undefined, annotations?: Annotations): Descriptor {
  const [os = "", architecture = "", variant] = platform?.split("/") ?? [];
  return {
    mediaType: mediaTypes.manifest,
    digest: `sha256:${"a".repeat(64)}`,
    size: 1,
    ...(platform === undefined
      ? {}
      : { platform: { os, architecture, ...(variant === undefined ? {} : { variant }) } }),
    ...(annotations === undefined ? {} : { annotations }),
  };
}

interface Places {
  readonly index?: Annotations;
  readonly manifest?: Annotations;
  readonly labels?: Annotations;
  readonly file?: Annotations;
  readonly layer?: Annotations;
}

function source(platform: string, places: Places = {}): OfferSource {
  const part = descriptor(undefined);
  return {
    descriptor: descriptor(platform, places.index),
    manifest: {
      schemaVersion: 2,
      config: { ...part, mediaType: mediaTypes.config },
      layers: [
        {
          ...part,
          mediaType: mediaTypes.layer,
          ...(places.layer === undefined ? {} : { annotations: places.layer }),
        },
      ],
      ...(places.manifest === undefined ? {} : { annotations: places.manifest }),
    },
    config: {
      os: "linux",
      architecture: "amd64",
      rootfs: { type: "layers", diff_ids: [] },
      ...(places.labels === undefined ? {} : { config: { Labels: places.labels } }),
    },
    ...(places.file === undefined ? {} : { uruncJson: places.file }),
  };
}

/** `mode monitors kernel`, or why it is none. */
function read(from: OfferSource, runtime?: Annotations): string {
  const { offers, ignored } = readOffers([from], runtime);
  const [offer] = offers;
  if (offer === undefined) return ignored[0]?.because ?? "";
  return offer.mode === "container"
    ? `container ${offer.arch}`
    : `${offer.guest} ${offer.monitors.join()} ${offer.kernel}`;
}

test("what an entry offers follows from its platform and its metadata", () => {
  const cases: readonly (readonly [OfferSource, string | RegExp])[] = [
    [source("linux/amd64"), "container amd64"],
    [source("linux/aarch64"), "container arm64"],
    [source("unknown/unknown"), /note/],
    [source("linux/amd64", { index: { "vnd.docker.reference.type": "attestation-manifest" } }), /note/],
    [source("linux/riscv64"), /architecture "riscv64"/],
    [source("windows/amd64"), /operating system "windows"/],
    [source("spt/amd64"), /where its kernel is/],
    [source("spt/amd64", { index: own("spt") }), "solo5 spt /own"],
    [source("linux/amd64", { labels: urunc("mirage", "spt") }), "mirage spt /kernel"],
    [
      source("linux/amd64", { labels: { ...urunc("mirage", "spt"), "dev.tripod.mode": "container" } }),
      "container amd64",
    ],
    [source("linux/amd64", { manifest: { ...own("spt"), "dev.tripod.mode": "microvm" } }), /microVM/],
    [
      source("linux/amd64", { labels: urunc("mirage", "spt", { "com.urunc.unikernel.binary": "" }) }),
      /lacks com\.urunc\.unikernel\.binary$/,
    ],
    [source("linux/amd64", { labels: urunc("windows", "spt") }), /unikernel type "windows"/],
    [source("linux/amd64", { labels: urunc("linux", "hedge") }), /monitor "hedge"/],
    [
      source("qemu/x86_64", { layer: { "org.unikraft.kernel.image": "/unikraft/bin/kernel" } }),
      "unikraft qemu /unikraft/bin/kernel",
    ],
    [
      source("fc/x86_64", { index: { "sh.kraftkit.version": "0.9" } }),
      "unikraft firecracker /unikraft/bin/kernel",
    ],
    [source("xen/x86_64", { index: { "sh.kraftkit.version": "0.9" } }), /platform "xen"/],
  ];
  for (const [from, expected] of cases)
    if (typeof expected === "string") assert.equal(read(from), expected);
    else assert.match(read(from), expected);
});

test("one source wins entirely: runtime, index entry, manifest, labels, file; ours before urunc's", () => {
  const all = {
    index: urunc("mirage", "hvt"),
    manifest: urunc("mirage", "spt"),
    labels: urunc("unikraft", "qemu"),
    file: urunc(base64("linux"), base64("firecracker"), { "com.urunc.unikernel.binary": base64("/file") }),
  };
  const { index: _index, ...noIndex } = all;
  const { manifest: _manifest, ...noManifest } = noIndex;
  const { labels: _labels, ...onlyFile } = noManifest;
  assert.equal(read(source("linux/amd64", all), urunc("mewz", "qemu")), "mewz qemu /kernel");
  assert.equal(read(source("linux/amd64", all)), "mirage hvt /kernel");
  assert.equal(read(source("linux/amd64", noIndex)), "mirage spt /kernel");
  assert.equal(read(source("linux/amd64", noManifest)), "unikraft qemu /kernel");
  assert.equal(read(source("linux/amd64", onlyFile)), "linux firecracker /file");
  assert.equal(read(source("linux/amd64", { ...all, labels: own("spt,hvt") })), "solo5 spt,hvt /own");
  // Incomplete sets do not count, and are not completed from the next source.
  const half = { "com.urunc.unikernel.hypervisor": "hvt" };
  assert.equal(
    read(source("linux/amd64", { index: half, labels: urunc("mirage", "spt") })),
    "mirage spt /kernel",
  );
});

const names = (chosen: readonly Descriptor[]): readonly string[] =>
  chosen.map(({ platform }) => `${platform?.os}/${platform?.architecture}`);

test("a pull wants the first plain linux entry of the architecture and the unikernels, no notes", () => {
  const entries = [
    "linux/arm64",
    "linux/amd64/v3",
    "linux/amd64",
    "linux/amd64",
    "spt/amd64",
    "hvt/x86_64",
    "hvt/arm64",
    "unknown/unknown",
  ].map((platform) => descriptor(platform));
  assert.deepEqual(names(runnableOn("amd64")(entries)), ["linux/amd64", "spt/amd64", "hvt/x86_64"]);
  assert.deepEqual(names(runnableOn("arm64")(entries)), ["linux/arm64", "hvt/arm64"]);
  assert.equal(everyEntry(entries).length, entries.length);
  assert.deepEqual(runnableOn("amd64")([descriptor("linux/arm64")]), []);
  assert.equal(runnableOn("amd64")([descriptor(undefined)]).length, 1);
});

const key = (name: string): string => `com.urunc.unikernel.${name}`;
const unikernelOf = (from: OfferSource, runtime?: Annotations) => {
  const [offer] = readOffers([from], runtime).offers;
  assert.ok(offer?.mode === "unikernel");
  return offer;
};

test("urunc's disk, root, version, device names and arguments become the offer's", () => {
  const labels = urunc("rumprun", "hvt", {
    [key("block")]: "disk.img",
    [key("blkMntPoint")]: "/data/",
    [key("unikernelVersion")]: "0.15.0",
    [key("useDMBlock")]: "",
    [key("solo5NetDev")]: "service",
    [key("solo5BlkDev")]: "storage",
    [key("cmdline")]: " a  b\tc ",
  });
  const offer = unikernelOf(source("linux/amd64", { labels }));
  const { disk, mountRootfs, version, netDevices, blockDevices, args } = offer;
  assert.deepEqual(
    { disk, mountRootfs, version, netDevices, blockDevices, args },
    {
      disk: { path: "disk.img", mountPoint: "/data" },
      mountRootfs: true,
      version: "0.15.0",
      netDevices: ["service"],
      blockDevices: ["storage"],
      args: ["a", "b", "c"],
    },
  );
});

test("a guest's least memory is what its kind needs, or more where the image says so", () => {
  assert.equal(
    unikernelOf(source("linux/amd64", { labels: urunc("mewz", "qemu") })).minMemoryBytes,
    512 << 20,
  );
  assert.equal(
    unikernelOf(source("linux/amd64", { labels: urunc("mirage", "spt") })).minMemoryBytes,
    undefined,
  );
  const ours = { ...own("qemu"), "dev.tripod.guest": "mewz", "dev.tripod.min-memory": "1Gi" };
  assert.equal(unikernelOf(source("linux/amd64", { labels: ours })).minMemoryBytes, 1 << 30);
});

test("an accelerator is asked for by the run, never by the image", () => {
  const accelerator = {
    "com.urunc.unikernel.vAccel": "vsock",
    "com.urunc.unikernel.RPCAddress": "vsock://2:2048",
  };
  assert.equal(
    unikernelOf(source("linux/amd64", { labels: urunc("linux", "qemu", accelerator) })).vaccel,
    undefined,
  );
  assert.deepEqual(
    unikernelOf(source("linux/amd64", { labels: urunc("linux", "qemu") }), accelerator).vaccel,
    { port: 2048 },
  );
});

test("property: whatever metadata says, it ends in a described guest, a reason or an error of ours", () => {
  const value = fc.oneof(
    fc.constantFrom(
      "",
      " ",
      "..",
      "a b",
      "it's",
      '"q"',
      "a\nb",
      "a\0b",
      "/",
      "-x",
      "true",
      "/disk",
      "{args}",
      "\ud800",
    ),
    fc.string({ maxLength: 20 }),
    fc.constant("x".repeat(100_000)),
  );
  const keys =
    "initrd cmdline unikernelVersion block blkMntPoint mountRootfs useDMBlock solo5NetDev solo5BlkDev binary";
  const types = fc.constantFrom("linux", "unikraft", "rumprun", "mirage", "mewz", "hermit");
  const given = fc.dictionary(fc.constantFrom(...keys.split(" ")), value, { maxKeys: 4 });
  fc.assert(
    fc.property(types, given, (type, values) => {
      const labels = urunc(
        type,
        "qemu",
        Object.fromEntries(Object.entries(values).map(([k, v]) => [key(k), v])),
      );
      try {
        const [offer] = readOffers([source("linux/amd64", { labels })]).offers;
        if (offer?.mode !== "unikernel") return;
        const boot = guestDriver(offer.guest)?.boot({
          offer,
          kernel: hostPath("/k"),
          root: offer.initrd === undefined ? { kind: "none" } : { kind: "initrd", path: hostPath("/i") },
          args: offer.args ?? ["/app"],
          env: ["PATH=/bin"],
          hostname: "web",
          monitor: "qemu",
          net: dualStack,
          netDevices: offer.netDevices ?? [],
          blockDevices: offer.blockDevices ?? [],
          disks: [],
          mounts: [],
          user: { uid: 0, gid: 0 },
          cwd: "/",
          ownsTree: false,
        });
        assert.doesNotMatch(boot?.bootLine ?? "", /[\n\0]/);
      } catch (error) {
        assert.ok(error instanceof TripodError, String(error));
        assert.notEqual(error.code, "bug");
        assert.ok(error.message.length < 600);
      }
    }),
  );
});
