import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { TripodError } from "./errors.ts";
import {
  decodeConfig,
  decodeIndex,
  decodeManifest,
  layerCompression,
  maxDocumentBytes,
  mediaTypes,
  normalArch,
} from "./oci.ts";

const digest = `sha256:${"0".repeat(64)}`;
const part = { mediaType: mediaTypes.layer, digest, size: 1 };
const bytes = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

test("documents are read; null is absence and unknown fields are ignored", () => {
  const manifest = decodeManifest(
    bytes({ schemaVersion: 2, config: part, layers: [part], annotations: null, new: 1 }),
    "m",
  );
  assert.equal("annotations" in manifest, false);
  const config = decodeConfig(
    bytes({ os: "linux", rootfs: { type: "layers", diff_ids: null }, config: { Cmd: null, Env: ["A=b"] } }),
    "c",
  );
  assert.deepEqual(config, {
    os: "linux",
    architecture: "",
    config: { Env: ["A=b"] },
    rootfs: { type: "layers", diff_ids: [] },
  });
});

test("what is malformed is refused with document and field", () => {
  const cases: readonly (readonly [() => unknown, RegExp])[] = [
    [() => decodeIndex(Buffer.from("{"), "the index"), /the index is not JSON/],
    [() => decodeIndex(Buffer.from([0xff]), "the index"), /not JSON/],
    [() => decodeIndex(bytes({ schemaVersion: 1, manifests: [] }), "i"), /schemaVersion/],
    [
      () => decodeIndex(bytes({ schemaVersion: 2, manifests: [{ ...part, digest: "sha512:00" }] }), "i"),
      /manifests\.0\.digest.*sha256/,
    ],
    [
      () => decodeIndex(bytes({ schemaVersion: 2, manifests: [{ ...part, size: -1 }] }), "i"),
      /manifests\.0\.size/,
    ],
    [() => decodeIndex(bytes({ schemaVersion: 2, manifests: [{ ...part, size: 1e300 }] }), "i"), /size/],
    [
      () =>
        decodeManifest(
          bytes({ schemaVersion: 2, mediaType: mediaTypes.index, config: part, layers: [] }),
          "m",
        ),
      /mediaType/,
    ],
    [
      () =>
        decodeManifest(
          bytes({ schemaVersion: 2, config: part, layers: Array.from({ length: 600 }, () => part) }),
          "m",
        ),
      /layers/,
    ],
    [() => decodeConfig(bytes({ rootfs: { type: "layers", diff_ids: [null] } }), "c"), /diff_ids/],
    [() => decodeConfig(Buffer.alloc(maxDocumentBytes + 1, " "), "c"), /larger than/],
    [() => decodeConfig(Buffer.from("[".repeat(1_000_000)), "c"), /not JSON/],
  ];
  for (const [decode, message] of cases)
    assert.throws(
      decode,
      (error) =>
        error instanceof TripodError && error.code === "image-invalid" && message.test(error.message),
      String(message),
    );
});

test("property: any bytes decode or are refused as invalid", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.json().map((text) => Buffer.from(text)),
        fc.uint8Array().map((array) => Buffer.from(array)),
      ),
      (input) => {
        for (const decode of [decodeIndex, decodeManifest, decodeConfig])
          try {
            decode(input, "x");
          } catch (error) {
            assert.ok(error instanceof TripodError && error.code === "image-invalid");
          }
      },
    ),
  );
});

test("layer types and architectures have one meaning each, and inherited names none", () => {
  assert.equal(layerCompression(mediaTypes.layerZstd), "zstd");
  assert.equal(layerCompression("application/vnd.docker.image.rootfs.diff.tar.gzip"), "gzip");
  assert.equal(layerCompression("toString"), undefined);
  assert.equal(normalArch("x86_64"), "amd64");
  assert.equal(normalArch("constructor"), undefined);
});
