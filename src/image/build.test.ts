import assert from "node:assert/strict";
import { mkdirSync, readFileSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { TripodError } from "../spec/errors.ts";
import { hostPath } from "../spec/paths.ts";
import { buildImage } from "./build.ts";
import { findImage, openStore } from "./image.ts";
import { readOffers } from "./offers.ts";
import { readRecipe } from "./recipe.ts";
import { temporaryDir } from "./testing.ts";

const recipe = (extra: object = {}): string =>
  JSON.stringify({
    version: 1,
    name: "demo",
    images: [
      {
        platform: "spt/amd64",
        files: [{ from: "kernel", to: "/boot/kernel" }],
        annotations: {
          "dev.tripod.mode": "unikernel",
          "dev.tripod.guest": "solo5",
          "dev.tripod.monitors": "spt",
          "dev.tripod.kernel": "/boot/kernel",
          "dev.tripod.boot-line": "ip={ipv4} {args}",
          "dev.tripod.min-memory": "4Mi",
        },
      },
      {
        platform: "linux/amd64",
        files: [{ from: "program", to: "/program", mode: "0755" }],
        config: { Entrypoint: ["/program"], ExposedPorts: { "80/tcp": {} } },
      },
    ],
    ...extra,
  });

function workshop(dir: string): string {
  const base = join(dir, "base");
  mkdirSync(base, { recursive: true });
  writeFileSync(join(base, "kernel"), "kernel");
  writeFileSync(join(base, "program"), "program", { mode: 0o600 });
  return base;
}

test("two builds of the same files give the same digest, whatever the files' times", async (t) => {
  const dir = temporaryDir(t);
  const base = hostPath(workshop(dir));
  const first = await buildImage(openStore(hostPath(join(dir, "a"))), readRecipe(recipe(), "r"), { base });
  utimesSync(join(base, "kernel"), 1000, 1000);
  const second = await buildImage(openStore(hostPath(join(dir, "b"))), readRecipe(recipe(), "r"), { base });
  assert.equal(first.digest, second.digest);
  assert.equal(first.name, "docker.io/library/demo:latest");
  const other = await buildImage(openStore(hostPath(join(dir, "b"))), readRecipe(recipe(), "r"), {
    base,
    epochSeconds: 1,
  });
  assert.notEqual(other.digest, first.digest);
});

test("generic entries come first, and the offers are what the recipe says", async (t) => {
  const dir = temporaryDir(t);
  const store = openStore(hostPath(join(dir, "lib")));
  await buildImage(store, readRecipe(recipe(), "r"), { base: hostPath(workshop(dir)) });
  const image = findImage(store, "demo");
  assert.ok(image);
  assert.deepEqual(
    image.entries.map(({ descriptor }) => descriptor.platform?.os),
    ["linux", "spt"],
  );
  const sources = image.entries.flatMap(({ descriptor, documents }) =>
    documents ? [{ descriptor, ...documents }] : [],
  );
  const { offers, ignored } = readOffers(sources);
  assert.deepEqual(ignored, []);
  const [container, unikernel] = offers;
  assert.equal(container?.mode, "container");
  assert.ok(unikernel?.mode === "unikernel");
  assert.deepEqual(unikernel.monitors, ["spt"]);
  assert.equal(unikernel.kernel, "/boot/kernel");
  assert.equal(unikernel.minMemoryBytes, 4 * 1024 * 1024);
  assert.equal(sources[0]?.config.config?.Entrypoint?.[0], "/program");
  // Every fact three times: index entry, manifest, labels.
  assert.equal(sources[1]?.manifest.annotations?.["dev.tripod.guest"], "solo5");
  assert.equal(sources[1]?.config.config?.Labels?.["dev.tripod.guest"], "solo5");
  assert.match(readFileSync(join(store.root, "oci-layout"), "utf8"), /1\.0\.0/);
});

test("a recipe's mistakes are named with the field and the nearest known key", () => {
  const cases: readonly (readonly [string, RegExp, RegExp])[] = [
    ["{", /not JSON/, /.*/],
    [recipe({ nam: "x" }), /nam: this key is not known/, /did you mean name/],
    [JSON.stringify({ version: 2, name: "x", images: [] }), /version/, /.*/],
    [recipe({ images: [{ platform: "linux/amd64", files: [] }] }), /images\.0\.files: an image needs/, /.*/],
    [
      recipe({ images: [{ platform: "beos/amd64", files: [{ from: "a", to: "/a" }] }] }),
      /beos/,
      /linux or a monitor/,
    ],
    [
      recipe({ images: [{ platform: "linux/amd64", files: [{ from: "a", to: "a" }] }] }),
      /files\.0\.to/,
      /.*/,
    ],
    [
      recipe({
        images: [
          {
            platform: "linux/amd64",
            files: [{ from: "a", to: "/a" }],
            annotations: { "dev.tripod.mod": "x" },
          },
        ],
      }),
      /dev\.tripod\.mod/,
      /did you mean dev\.tripod\.mode/,
    ],
  ];
  for (const [json, message, hint] of cases)
    assert.throws(
      () => readRecipe(json, "r"),
      (error) => error instanceof TripodError && message.test(error.message) && hint.test(error.hint ?? ""),
      json,
    );
});

test("a file outside the base, a missing one and one named twice are refused, and nothing is tagged", async (t) => {
  const dir = temporaryDir(t);
  const base = workshop(dir);
  writeFileSync(join(dir, "secret"), "s");
  symlinkSync("../secret", join(base, "link"));
  const store = openStore(hostPath(join(dir, "lib")));
  for (const [files, why] of [
    [[{ from: "../secret", to: "/a" }], /outside/],
    [[{ from: "link", to: "/a" }], /outside/],
    [[{ from: "nothing", to: "/a" }], /no such file/],
    [
      [
        { from: "kernel", to: "/a" },
        { from: "program", to: "/a" },
      ],
      /twice/,
    ],
    [
      [
        { from: "kernel", to: "/a" },
        { from: "program", to: "/a/b" },
      ],
      /twice/,
    ],
  ] as const) {
    const json = recipe({ images: [{ platform: "linux/amd64", files }] });
    await assert.rejects(buildImage(store, readRecipe(json, "r"), { base: hostPath(base) }), why);
  }
  assert.deepEqual(store.references(), []);
});

/** A recipe whose first image can be built and whose second lacks its file. */
const partly = (optional: readonly [boolean, boolean], first = "program"): string =>
  recipe({
    images: [
      { platform: "linux/amd64", optional: optional[0], files: [{ from: first, to: "/program" }] },
      { platform: "linux/arm64", optional: optional[1], files: [{ from: "not-built", to: "/program" }] },
    ],
  });

test("an optional image whose files are not there is left out, but not every image", async (t) => {
  const dir = temporaryDir(t);
  const base = hostPath(workshop(dir));
  const store = openStore(hostPath(join(dir, "store")));
  const { name } = await buildImage(store, readRecipe(partly([true, true]), "r"), { base });
  assert.deepEqual(
    findImage(store, name)?.entries.map(({ descriptor }) => descriptor.platform?.architecture),
    ["amd64"],
  );
  await assert.rejects(
    buildImage(store, readRecipe(partly([true, false]), "r"), { base }),
    /not-built cannot be put into the image/,
  );
  await assert.rejects(
    buildImage(store, readRecipe(partly([true, true], "not-built-either"), "r"), { base }),
    /no image of demo/,
  );
});
