/** Garbage collection of the store: what no reference and no sandbox needs goes. */

import { readFileSync } from "node:fs";
import { lstat, readdir, stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import { processStartTicks } from "../host/processes.ts";
import { removeTree } from "../host/remove-tree.ts";
import { digestOfHex, hexOf, isDigest } from "../spec/digest.ts";
import { errnoOf } from "../spec/errors.ts";
import { decodeConfig, decodeIndex, decodeManifest, documentKind, maxDocumentBytes } from "../spec/oci.ts";
import { hostPath } from "../spec/paths.ts";
import type { Digest } from "../spec/values.ts";
import { chainIds } from "./layers.ts";
import { tryLock } from "./lock.ts";
import type { Store } from "./store.ts";

export interface GcOptions {
  /** Manifests (or indexes) of the images that sandboxes run: they and all they name are kept. */
  readonly inUse: Iterable<Digest>;
  /** Blobs and layers younger than this are kept whatever names them. Default 0: leases already protect what is being written. */
  readonly graceMs?: number;
}

export interface GcResult {
  /** False when somebody held a lease (a pull or a start was under way): nothing was removed then, the next collection will. */
  readonly done: boolean;
  readonly blobs: number;
  readonly layers: number;
  readonly bytes: number;
}

const nothing: GcResult = { done: false, blobs: 0, layers: 0, bytes: 0 };

/**
 * Removes blobs and unpacked layers that neither a reference nor an image in use needs, and what dead processes left half written. A
 * document that cannot be read makes nothing else unreachable: what it would have named is collected only with it.
 */
export async function collectGarbage(store: Store, options: GcOptions): Promise<GcResult> {
  const lock = await tryLock(store.lockDir, { key: "content", mode: "exclusive", deadlineMs: 0 });
  if (lock === undefined) return nothing;
  try {
    const live = mark(store, [
      ...store.references().map(({ descriptor }) => descriptor.digest),
      ...options.inUse,
    ]);
    const youngest = Date.now() - (options.graceMs ?? 0);
    const blobs = await sweepBlobs(store, live.blobs, youngest);
    const layers = await sweepLayers(store, live.chainIds, youngest);
    await sweepIngest(store);
    return { done: true, blobs: blobs.count, layers, bytes: blobs.bytes };
  } finally {
    await lock.release();
  }
}

interface Live {
  readonly blobs: ReadonlySet<Digest>;
  /** Of unpacked layers. */
  readonly chainIds: ReadonlySet<Digest>;
}

function mark(store: Store, roots: readonly Digest[]): Live {
  const blobs = new Set<Digest>();
  const layers = new Set<Digest>();
  const documents = [...roots];
  for (let digest = documents.pop(); digest !== undefined; digest = documents.pop()) {
    if (blobs.has(digest)) continue;
    blobs.add(digest);
    const bytes = readBlob(store, digest);
    if (bytes === undefined) continue;
    const index = attempt(() => decodeIndex(bytes, digest));
    if (index !== undefined)
      for (const entry of index.manifests)
        if (documentKind(entry.mediaType) === undefined) blobs.add(entry.digest);
        else documents.push(entry.digest);
    const manifest = attempt(() => decodeManifest(bytes, digest));
    if (manifest === undefined) continue;
    for (const part of [manifest.config, ...manifest.layers]) blobs.add(part.digest);
    const configBytes = readBlob(store, manifest.config.digest);
    const config = configBytes && attempt(() => decodeConfig(configBytes, manifest.config.digest));
    for (const chainId of chainIds(config?.rootfs.diff_ids ?? [])) layers.add(chainId);
  }
  return { blobs, chainIds: layers };
}

function readBlob(store: Store, digest: Digest): Buffer | undefined {
  try {
    const bytes = readFileSync(store.blobPath(digest));
    return bytes.byteLength <= maxDocumentBytes ? bytes : undefined;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

function attempt<Value>(decode: () => Value): Value | undefined {
  try {
    return decode();
  } catch {
    return undefined;
  }
}

async function sweepBlobs(store: Store, live: ReadonlySet<Digest>, youngestMs: number) {
  const dir = join(store.root, "blobs", "sha256");
  let count = 0;
  let bytes = 0;
  for (const name of await list(dir)) {
    const digest = digestOfHex(name);
    // A file that is not a blob of ours was put there by somebody else.
    if (!isDigest(digest) || live.has(digest)) continue;
    const { mtimeMs, size } = await stat(join(dir, name));
    if (mtimeMs > youngestMs) continue;
    await unlink(join(dir, name));
    count++;
    bytes += size;
  }
  return { count, bytes };
}

async function sweepLayers(store: Store, live: ReadonlySet<Digest>, youngestMs: number): Promise<number> {
  const liveNames = new Set([...live].map(hexOf));
  let count = 0;
  for (const name of await list(store.layersDir)) {
    const isTemporary = name.startsWith(".tmp-");
    if (isTemporary ? await isOwnerAlive(name.slice(".tmp-".length)) : liveNames.has(name.slice(0, 64)))
      continue;
    if (!isTemporary && !/^[0-9a-f]{64}(?:\.json)?$/.test(name)) continue;
    const path = hostPath(join(store.layersDir, name));
    // Not the modification time, which an image says of its own root directory.
    if (!isTemporary && (await lstat(path)).ctimeMs > youngestMs) continue;
    await removeTree(path, { beneath: store.layersDir });
    if (!isTemporary && !name.endsWith(".json")) count++;
  }
  return count;
}

async function sweepIngest(store: Store): Promise<void> {
  for (const name of await list(store.ingestDir))
    if (!(await isOwnerAlive(name))) await unlink(join(store.ingestDir, name));
}

/** Names of unfinished things begin with `PID.STARTTICKS.`; 0 ticks stands for any process of that pid. */
async function isOwnerAlive(name: string): Promise<boolean> {
  const [pid, ticks] = name.split(".").map(Number);
  const actual = Number.isSafeInteger(pid) ? await processStartTicks(pid ?? 0) : undefined;
  return actual !== undefined && (ticks === 0 || actual === ticks);
}

async function list(dir: string): Promise<readonly string[]> {
  try {
    return await readdir(dir);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw error;
  }
}
