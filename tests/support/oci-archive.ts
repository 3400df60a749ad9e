/** Images for containerd's `ctr image import`. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { runToEnd } from "./tripod.ts";

const json = (value: object): Buffer => Buffer.from(JSON.stringify(value));

/** An archive of an OCI layout with one image of one layer, `docker.io/tests/NAME:1`. */
export async function ociArchive(
  dir: string,
  name: string,
  layerTar: string,
  cmd: readonly string[],
): Promise<string> {
  const layout = join(dir, `layout-${name}`);
  const put = (content: Buffer): { readonly digest: string; readonly size: number } => {
    const hex = createHash("sha256").update(content).digest("hex");
    const path = join(layout, "blobs/sha256", hex);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
    return { digest: `sha256:${hex}`, size: content.length };
  };
  const tar = readFileSync(layerTar);
  const layer = put(gzipSync(tar));
  const diffId = `sha256:${createHash("sha256").update(tar).digest("hex")}`;
  const config = put(
    json({
      architecture: process.arch === "arm64" ? "arm64" : "amd64",
      os: "linux",
      config: { Cmd: cmd, Env: ["PATH=/bin"] },
      rootfs: { type: "layers", diff_ids: [diffId] },
    }),
  );
  const image = "application/vnd.oci.image";
  const manifest = put(
    json({
      schemaVersion: 2,
      mediaType: `${image}.manifest.v1+json`,
      config: { mediaType: `${image}.config.v1+json`, ...config },
      layers: [{ mediaType: `${image}.layer.v1.tar+gzip`, ...layer }],
    }),
  );
  writeFileSync(join(layout, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
  writeFileSync(
    join(layout, "index.json"),
    JSON.stringify({
      schemaVersion: 2,
      manifests: [
        {
          mediaType: `${image}.manifest.v1+json`,
          ...manifest,
          annotations: {
            "io.containerd.image.name": `docker.io/tests/${name}:1`,
            "org.opencontainers.image.ref.name": "1",
          },
        },
      ],
    }),
  );
  const file = join(dir, `${name}.oci.tar`);
  assert.equal((await runToEnd("tar", ["-C", layout, "-cf", file, "."])).code, 0);
  return file;
}
