/** Bad input, in one table: each ends with a status other than 0, a message that says what, which and why, a remedy, and nothing left behind. */

import assert from "node:assert/strict";
import {
  chmodSync,
  cpSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { buildImage } from "../../src/image/build.ts";
import { openStore } from "../../src/image/image.ts";
import { readRecipe } from "../../src/image/recipe.ts";
import { hostPath } from "../../src/spec/paths.ts";
import { assertNothingLeft, traces } from "../support/leftovers.ts";
import { type Lab, type Outcome, launcher, makeLab, runToEnd, tree } from "../support/tripod.ts";

const kernel = (): Buffer => readFileSync(join(tree, "build/httpreply/httpreply.spt"));

/** Builds a one-entry `spt` image around a kernel's bytes. */
async function imageOf(lab: Lab, bytes: Buffer, annotations: Record<string, string> = {}): Promise<string> {
  writeFileSync(join(lab.root, "kernel"), bytes);
  const recipe = {
    version: 1,
    name: "bad",
    images: [
      {
        platform: "spt/amd64",
        files: [{ from: "kernel", to: "/kernel", mode: "0644" }],
        config: {},
        annotations: {
          "dev.tripod.mode": "unikernel",
          "dev.tripod.guest": "solo5",
          "dev.tripod.monitors": "spt",
          "dev.tripod.kernel": "/kernel",
          ...annotations,
        },
      },
    ],
  };
  await buildImage(
    openStore(hostPath(join(lab.root, "lib"))),
    readRecipe(JSON.stringify(recipe), "bad.json"),
    {
      base: hostPath(lab.root),
    },
  );
  return "bad";
}

/** Blobs of the store by size, largest first. */
const blobs = (lab: Lab): string[] => {
  const dir = join(lab.root, "lib/images/blobs/sha256");
  return readdirSync(dir)
    .map((name) => join(dir, name))
    .toSorted((a, b) => statSync(b).size - statSync(a).size);
};

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
}

const cases: readonly Case[] = [
  {
    title: "a kernel that is not an ELF",
    run: async (lab) =>
      lab.tripod(["run", "-d", await imageOf(lab, Buffer.from("#!/bin/sh\necho no kernel\n"))]),
    says: [/kernel \/?kernel/, /not an ELF/i],
  },
  {
    title: "a kernel for another architecture",
    run: async (lab) => {
      const bytes = kernel();
      bytes.writeUInt16LE(183, 18);
      return lab.tripod(["run", "-d", await imageOf(lab, bytes)]);
    },
    says: [/kernel/, /arm64/, /amd64/],
  },
  {
    title: "a truncated kernel",
    run: async (lab) => lab.tripod(["run", "-d", await imageOf(lab, kernel().subarray(0, 3000))]),
    says: [/kernel/, /truncated|ends|beyond|outside/i],
  },
  {
    title: "an unknown annotation",
    run: async (lab) =>
      lab.tripod(["run", "-d", await imageOf(lab, kernel(), { "dev.tripod.kernle": "/kernel" })]),
    says: [/dev\.tripod\.kernle/, /dev\.tripod\.kernel/],
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
      const name = await imageOf(lab, kernel());
      const [layer = ""] = blobs(lab);
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
      const name = await imageOf(lab, kernel());
      truncateSync(blobs(lab)[0] ?? "", 4096);
      return lab.tripod(["run", "-d", name]);
    },
    says: [/layer/, /bytes|size|digest/],
  },
  {
    title: "a missing layer",
    run: async (lab) => {
      const name = await imageOf(lab, kernel());
      rmSync(blobs(lab)[0] ?? "");
      return lab.tripod(["run", "-d", name]);
    },
    says: [/layer/, /missing|not in the store/],
  },
  {
    title: "an image with no layer",
    run: async (lab) => {
      const layout = join(lab.root, "layout");
      await runToEnd("umoci", ["init", "--layout", layout]);
      await runToEnd("umoci", ["new", "--image", `${layout}:empty`]);
      const loaded = await lab.tripod(["load", "-i", layout]);
      return loaded.code === 0 ? lab.tripod(["run", "-d", "--pull", "never", "empty", "/bin/true"]) : loaded;
    },
    says: [/no layer/],
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
  },
];

for (const { title, run, says } of cases) {
  test(`bad input: ${title}`, async (t) => {
    const lab = makeLab(t);
    // The facts and the example are there beforehand, so that only the fault itself is new.
    await lab.ok(["run", "--dry-run", "httpreply"]);
    cpSync(join(lab.root, "lib/facts.json"), join(lab.root, "facts.json"));
    mkdirSync(join(lab.root, "run/default/names"), { recursive: true });
    const before = traces(lab.root);
    const outcome = await run(lab, t);
    assert.notEqual(outcome.code, 0, "it must not succeed");
    assert.notEqual(outcome.code, null, "it must not be killed");
    const [message = ""] = outcome.stderr.split("\n").filter((line) => line.startsWith("tripod: "));
    assert.notEqual(message, "", `no message in ${JSON.stringify(outcome.stderr)}`);
    assert.doesNotMatch(outcome.stderr, /unexpected|at async|\[object/, "it is no bug of ours");
    for (const what of says) assert.match(message, what);
    assert.match(outcome.stderr, /^hint: ./m, `no remedy in ${JSON.stringify(outcome.stderr)}`);
    await assertNothingLeft(lab.root, before, `by ${title}`);
  });
}
