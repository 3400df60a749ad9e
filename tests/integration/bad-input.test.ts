/** Bad input, in one table: each ends with a status other than 0, a message that says what, which and why, a remedy, and nothing left behind. */

import assert from "node:assert/strict";
import { chmodSync, cpSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { gzipSync } from "node:zlib";
import { buildImage } from "../../src/image/build.ts";
import { documentsOf, findImage, openStore } from "../../src/image/image.ts";
import { readRecipe } from "../../src/image/recipe.ts";
import { digestOf } from "../../src/spec/digest.ts";
import { decodeConfig, decodeIndex, decodeManifest } from "../../src/spec/oci.ts";
import { hostPath } from "../../src/spec/paths.ts";
import type { Digest } from "../../src/spec/values.ts";
import { assertNothingLeft, traces } from "../support/leftovers.ts";
import { type Lab, type Outcome, launcher, makeLab, runToEnd, tree } from "../support/tripod.ts";

const kernel = (): Buffer => readFileSync(join(tree, "build/httpreply/httpreply.spt"));

/** Makes a layer that no other image has, so that it is not unpacked yet. */
const ownKernel = (): Buffer => Buffer.concat([kernel(), Buffer.from("of its own")]);

interface Image {
  readonly annotations?: Readonly<Record<string, string>>;
  readonly monitor?: "spt" | "qemu";
  readonly guest?: "solo5" | "pvh";
  readonly mode?: string;
}

/** Builds an image of one entry around a kernel's bytes, for `spt` where nothing else is said. */
async function imageOf(
  lab: Lab,
  bytes: Buffer,
  { annotations = {}, monitor = "spt", guest = "solo5", mode = "0644" }: Image = {},
): Promise<string> {
  writeFileSync(join(lab.root, "kernel"), bytes);
  const recipe = {
    version: 1,
    name: "bad",
    images: [
      {
        platform: `${monitor}/amd64`,
        files: [{ from: "kernel", to: "/kernel", mode }],
        config: {},
        annotations: {
          "dev.tripod.mode": "unikernel",
          "dev.tripod.guest": guest,
          "dev.tripod.monitors": monitor,
          "dev.tripod.kernel": "/kernel",
        },
      },
    ],
  };
  const { images, ...read } = readRecipe(JSON.stringify(recipe), "bad.json");
  // A recipe with keys that are not known is refused; an image by another builder may have them.
  const others = images.map((image) => ({ ...image, annotations: { ...image.annotations, ...annotations } }));
  await buildImage(storeOf(lab), { ...read, images: others }, { base: hostPath(lab.root) });
  return "bad";
}

const storeOf = (lab: Lab) => openStore(hostPath(join(lab.root, "lib")));

/** The file that holds the only layer of an image of `imageOf`. */
function layerOf(lab: Lab, reference: string): string {
  const store = storeOf(lab);
  const image = findImage(store, reference);
  const [entry] = image?.entries ?? [];
  if (image === undefined || entry === undefined) throw new Error(`${reference} is not in the store`);
  const [layer] = documentsOf(image, entry.descriptor.digest).manifest.layers;
  if (layer === undefined) throw new Error(`${reference} has no layer`);
  return store.blobPath(layer.digest);
}

async function umoci(...argv: string[]): Promise<void> {
  const outcome = await runToEnd("umoci", argv);
  assert.equal(outcome.code, 0, outcome.stderr);
}

/** An OCI layout made by another tool, with one image of so many layers. */
async function layoutOf(lab: Lab, layers: number): Promise<string> {
  const layout = join(lab.root, "layout");
  await umoci("init", "--layout", layout);
  await umoci("new", "--image", `${layout}:made`);
  if (layers === 0) return layout;
  mkdirSync(join(lab.root, "content"));
  await umoci("insert", "--image", `${layout}:made`, join(lab.root, "content"), "/content");
  const blob = (digest: string): string => join(layout, "blobs/sha256", digest.slice("sha256:".length));
  const put = (value: unknown): { digest: Digest; size: number } => {
    const bytes = Buffer.from(JSON.stringify(value));
    const digest = digestOf(bytes);
    writeFileSync(blob(digest), bytes);
    return { digest, size: bytes.byteLength };
  };
  const index = decodeIndex(readFileSync(join(layout, "index.json")), "index");
  const [described] = index.manifests;
  if (described === undefined) throw new Error("umoci made no image");
  const manifest = decodeManifest(readFileSync(blob(described.digest)), "manifest");
  const config = decodeConfig(readFileSync(blob(manifest.config.digest)), "config");
  const times = <T>([first]: readonly T[]): (T | undefined)[] => Array.from({ length: layers }, () => first);
  const newConfig = put({ ...config, rootfs: { type: "layers", diff_ids: times(config.rootfs.diff_ids) } });
  const newManifest = put({
    ...manifest,
    config: { ...manifest.config, ...newConfig },
    layers: times(manifest.layers),
  });
  const newIndex = { ...index, manifests: [{ ...described, ...newManifest }] };
  writeFileSync(join(layout, "index.json"), JSON.stringify(newIndex));
  return layout;
}

/** Loads a layout's image and runs it as a container. */
async function loadAndRun(lab: Lab, layout: string): Promise<Outcome> {
  const loaded = await lab.tripod(["load", "--name", "made", "-i", layout]);
  return loaded.code === 0 ? lab.tripod(["run", "-d", "--pull", "never", "made", "/bin/true"]) : loaded;
}

/** Runs `tripod` with something of the machine hidden or limited, in a mount namespace of its own. */
const within = (lab: Lab, script: string, argv: readonly string[]): Promise<Outcome> =>
  runToEnd("unshare", ["-m", "sh", "-c", `set -e; ${script}; exec "$0" "$@"`, launcher, ...argv], {
    env: { TRIPOD_ROOT: lab.root },
  });

interface Case {
  readonly title: string;
  /** Prepares, runs, and gives the outcome to be judged. */
  readonly run: (lab: Lab, t: TestContext) => Promise<Outcome>;
  /** What the message must say: what and which, why. */
  readonly says: readonly RegExp[];
  /** What the remedy must say, where one word decides. */
  readonly hints?: RegExp;
  /** Default: 125. */
  readonly status?: number;
}

const cases: readonly Case[] = [
  {
    title: "a kernel that is not an ELF",
    run: async (lab) =>
      lab.tripod(["run", "-d", await imageOf(lab, Buffer.from("#!/bin/sh\necho no kernel\n"))]),
    says: [/kernel \/?kernel/, /not an ELF/i],
    status: 126,
  },
  {
    title: "a kernel for another architecture",
    run: async (lab) => {
      const bytes = kernel();
      bytes.writeUInt16LE(183, 18);
      return lab.tripod(["run", "-d", await imageOf(lab, bytes)]);
    },
    says: [/kernel/, /arm64/, /amd64/],
    status: 126,
  },
  {
    title: "a truncated kernel",
    run: async (lab) => lab.tripod(["run", "-d", await imageOf(lab, kernel().subarray(0, 3000))]),
    says: [/kernel/, /truncated|ends|beyond|outside/i],
    status: 126,
  },
  {
    title: "an unknown annotation",
    run: async (lab) =>
      lab.tripod([
        "run",
        "-d",
        await imageOf(lab, kernel(), { annotations: { "dev.tripod.kernle": "/kernel" } }),
      ]),
    says: [/dev\.tripod\.kernle/],
    hints: /dev\.tripod\.kernel\b/,
  },
  {
    title: "a monitor whose program is missing",
    run: async (lab) => {
      const config = join(lab.root, "config.toml");
      writeFileSync(config, '[monitors.spt]\npath = "/nonexistent/tender"\n');
      return lab.tripod(["--config", config, "run", "-d", "--monitor", "spt", "httpreply"]);
    },
    says: [/spt/, /\/nonexistent\/tender/],
  },
  {
    title: "no KVM where it is asked for",
    run: (lab) =>
      within(lab, "mount --bind /dev/null /dev/kvm", ["run", "-d", "--monitor", "hvt", "httpreply"]),
    says: [/hvt/, /KVM/],
  },
  {
    title: "a host port that another program listens on",
    run: async (lab, t) => {
      const server = createServer().listen(18_085, "0.0.0.0");
      t.after(() => server.close());
      await new Promise((resolve) => server.once("listening", resolve));
      return lab.tripod(["run", "-d", "-p", "18085:80", "httpreply"]);
    },
    says: [/18085/, /in use/],
  },
  {
    title: "a name that is taken",
    run: async (lab) => {
      await lab.ok(["run", "-d", "--name", "twin", "--network", "none", "httpreply"]);
      const outcome = await lab.tripod(["run", "-d", "--name", "twin", "--network", "none", "httpreply"]);
      await lab.ok(["rm", "-f", "twin"]);
      return outcome;
    },
    says: [/twin/, /taken/],
  },
  {
    title: "too little memory",
    run: (lab) => lab.tripod(["run", "-d", "-m", "1m", "--monitor", "spt", "httpreply"]),
    says: [/1 ?Mi?B?/i, /at least|needs|below/],
  },
  {
    title: "a read-only state directory",
    run: (lab) =>
      within(lab, `mkdir -p ${lab.root}/run; mount -t tmpfs -o ro none ${lab.root}/run`, [
        "run",
        "-d",
        "httpreply",
      ]),
    says: [/state directory|\/run/, /read-only|EROFS/i],
  },
  {
    title: "a read-only file system in which no image store was made yet",
    run: (lab) =>
      within(lab, `mkdir -p ${lab.root}; mount -t tmpfs -o ro none ${lab.root}`, ["run", "-d", "httpreply"]),
    says: [/lib\/locks cannot be written/, /read-only/],
  },
  {
    title: "a file where the state directory should be",
    run: (lab) => lab.tripod(["--root", "/dev/null", "run", "-d", "httpreply"]),
    says: [/\/dev\/null/, /not a directory/],
  },
  {
    title: "a full disk under the images",
    run: (lab) =>
      within(lab, `mkdir -p ${lab.root}/lib; mount -t tmpfs -o size=64k none ${lab.root}/lib`, [
        "run",
        "-d",
        "httpreply",
      ]),
    says: [/no space|full/i],
  },
  {
    title: "a full disk under the state",
    run: (lab) =>
      within(lab, `mkdir -p ${lab.root}/run; mount -t tmpfs -o size=8k,nr_inodes=8 none ${lab.root}/run`, [
        "run",
        "-d",
        "httpreply",
      ]),
    says: [/no space|full/i],
  },
  {
    title: "a corrupt layer",
    run: async (lab) => {
      const name = await imageOf(lab, ownKernel());
      const layer = layerOf(lab, name);
      const bytes = readFileSync(layer);
      bytes[2000] = (bytes[2000] ?? 0) ^ 1;
      chmodSync(layer, 0o600);
      writeFileSync(layer, bytes);
      return lab.tripod(["run", "-d", name]);
    },
    says: [/layer/, /digest|sha256/],
  },
  {
    title: "a layer that was cut off",
    run: async (lab) => {
      const name = await imageOf(lab, ownKernel());
      const layer = layerOf(lab, name);
      chmodSync(layer, 0o600);
      truncateSync(layer, 4096);
      return lab.tripod(["run", "-d", name]);
    },
    says: [/layer/, /bytes|size|digest/],
  },
  {
    title: "a missing layer",
    run: async (lab) => {
      const name = await imageOf(lab, ownKernel());
      rmSync(layerOf(lab, name));
      return lab.tripod(["run", "-d", name]);
    },
    says: [/layer/, /missing|not in the store/],
  },
  {
    title: "an image with no layer",
    run: async (lab) => loadAndRun(lab, await layoutOf(lab, 0)),
    says: [/made/, /no layer/],
  },
  {
    title: "an image with more layers than can be stacked",
    run: async (lab) => loadAndRun(lab, await layoutOf(lab, 129)),
    says: [/made/, /129 layers/, /128/],
  },
  {
    title: "a kernel that only root may read, where the monitor opens it as another user",
    run: async (lab) => {
      const bytes = readFileSync(join(tree, "build/httpreply/httpreply.pvh"));
      const image = await imageOf(lab, bytes, { monitor: "qemu", guest: "pvh", mode: "0600" });
      return lab.tripod(["run", "-d", "--monitor", "qemu", image]);
    },
    says: [/\/kernel/, /0600/, /qemu/],
    hints: /0644/,
    status: 126,
  },
  {
    title: "an image that nobody has",
    run: (lab) => lab.tripod(["run", "-d", "localhost:1/none/such"]),
    says: [/localhost:1/],
  },
  {
    title: "a program that is not in the image",
    run: (lab) => lab.tripod(["run", "-d", "--mode", "container", "--entrypoint", "/no/such", "httpreply"]),
    says: [/no\/such/],
    status: 127,
  },
  {
    title: "a program that is not executable",
    run: (lab) =>
      lab.tripod(["run", "-d", "--mode", "container", "--entrypoint", "/etc/hostname", "httpreply"]),
    says: [/\/etc\/hostname/, /permission denied/],
    status: 126,
  },
  {
    title: "an archive that is not there",
    run: (lab) => lab.tripod(["load", "-i", join(lab.root, "nothing.tar")]),
    says: [/nothing\.tar/, /ENOENT|no such file/],
  },
  {
    title: "an archive that is none",
    run: (lab) => {
      writeFileSync(join(lab.root, "noise.tar"), "no archive\n".repeat(200));
      return lab.tripod(["load", "-i", join(lab.root, "noise.tar")]);
    },
    says: [/noise\.tar/],
  },
  {
    title: "an archive that was cut off in its compression",
    run: (lab) => {
      writeFileSync(join(lab.root, "cut.tar.gz"), gzipSync(Buffer.alloc(100_000, "x")).subarray(0, 60));
      return lab.tripod(["load", "-i", join(lab.root, "cut.tar.gz")]);
    },
    says: [/cut\.tar\.gz/, /decompress|end of file/],
  },
  {
    title: "a directory that is no layout",
    run: (lab) => {
      mkdirSync(join(lab.root, "folder"));
      return lab.tripod(["load", "-i", join(lab.root, "folder")]);
    },
    says: [/folder/, /layout/],
  },
];

for (const { title, run, says, hints = /./, status = 125 } of cases) {
  test(`bad input: ${title}`, async (t) => {
    const lab = makeLab(t);
    // The facts and the example are there beforehand, so that only the fault itself is new.
    await lab.ok(["run", "--dry-run", "httpreply"]);
    cpSync(join(lab.root, "lib/facts.json"), join(lab.root, "facts.json"));
    mkdirSync(join(lab.root, "run/default/names"), { recursive: true });
    const before = traces(lab.root);
    const outcome = await run(lab, t);
    const [message = ""] = outcome.stderr.split("\n").filter((line) => line.startsWith("tripod: "));
    assert.notEqual(message, "", `no message in ${JSON.stringify(outcome.stderr)}`);
    assert.doesNotMatch(outcome.stderr, /unexpected: |at async|\[object/, "it is no bug of ours");
    for (const what of says) assert.match(message, what);
    const hint = /^hint: (.+)$/m.exec(outcome.stderr)?.[1] ?? "";
    assert.match(hint, hints, `no remedy in ${JSON.stringify(outcome.stderr)}`);
    assert.equal(outcome.code, status, outcome.stderr);
    await assertNothingLeft(lab.root, before, `by ${title}`);
  });
}
