/** Helpers of this folder's tests. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import type { TestContext } from "node:test";
import tar from "tar-stream";
import { digestOf } from "../spec/digest.ts";
import { type Descriptor, type ImageConfig, type ImageManifest, mediaTypes } from "../spec/oci.ts";
import { type HostPath, hostPath } from "../spec/paths.ts";
import type { Store } from "./store.ts";

/** A directory that is removed with the test. */
export function temporaryDir(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "tripod-image-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** The real warden, made by set-up. */
export const warden: HostPath = hostPath(join(import.meta.dirname, "../../bin/tripod-warden"));

/** An entry of a layer made for a test. */
export interface LayerEntry {
  readonly name: string;
  readonly type?: "file" | "directory" | "symlink" | "link";
  readonly content?: string;
  readonly linkname?: string;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
}

/** The tar of a layer. */
export async function layerTar(entries: readonly LayerEntry[]): Promise<Buffer> {
  const pack = tar.pack();
  for (const { type = "file", content = "", ...rest } of entries)
    pack.entry({ type, mtime: new Date(0), ...rest }, content);
  pack.finalize();
  return buffer(pack);
}

/** Puts an image of layers into the store, all documents made to fit. Bottom layer first. */
export async function putImage(
  store: Store,
  name: string,
  layers: readonly { readonly tar: Buffer; readonly blob?: Buffer; readonly mediaType?: string }[],
  labels: Readonly<Record<string, string>> = {},
): Promise<{
  readonly manifest: ImageManifest;
  readonly config: ImageConfig;
  readonly descriptor: Descriptor;
}> {
  const put = async (mediaType: string, bytes: Buffer): Promise<Descriptor> => {
    const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.byteLength };
    await store.put(bytes, descriptor, mediaType);
    return descriptor;
  };
  const descriptors: Descriptor[] = [];
  for (const { tar: plain, blob = plain, mediaType = mediaTypes.layer } of layers)
    descriptors.push(await put(mediaType, blob));
  const config: ImageConfig = {
    architecture: "amd64",
    os: "linux",
    config: { Labels: labels },
    rootfs: { type: "layers", diff_ids: layers.map((layer) => digestOf(layer.tar)) },
  };
  const manifest: ImageManifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: await put(mediaTypes.config, Buffer.from(JSON.stringify(config))),
    layers: descriptors,
  };
  const descriptor = await put(mediaTypes.manifest, Buffer.from(JSON.stringify(manifest)));
  await store.tag(name, descriptor);
  return { manifest, config, descriptor };
}
