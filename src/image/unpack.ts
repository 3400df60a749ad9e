/** Unpacks one layer: Node verifies and decompresses, the warden unpacks in its confinement. */

import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream, existsSync, mkdirSync, renameSync } from "node:fs";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { plainEnvironment } from "../host/process.ts";
import { processStartTicks } from "../host/processes.ts";
import { removeTree } from "../host/remove-tree.ts";
import { digestMismatch, digestOfHex, hexOf, sizeMismatch } from "../spec/digest.ts";
import { TripodError, errnoOf } from "../spec/errors.ts";
import { type HostPath, hostPath } from "../spec/paths.ts";
import type { Digest } from "../spec/values.ts";
import type { LayerPair, UnpackOptions } from "./layers.ts";
import { takeLock } from "./lock.ts";
import type { Store } from "./store.ts";
import { stateError } from "../host/state-error.ts";
import { TarStreamScanner } from "./tar-scan.ts";
import { readUnpackAnswer } from "./unpack-answer.ts";

const defaults = { maxBytes: 32 * 1024 ** 3, maxEntries: 2_000_000, deadlineMs: 15 * 60_000 };

/** Where a layer goes, and the unpacked layers below it, topmost first. */
export interface LayerPlace {
  readonly target: HostPath;
  readonly lowers: readonly HostPath[];
}

/** Unpacks one layer to its place, unless another process just did. Throws as `ensureUnpacked`. */
export async function unpackOnce(
  store: Store,
  subject: string,
  { target, lowers }: LayerPlace,
  pair: LayerPair,
  options: UnpackOptions,
): Promise<void> {
  const deadlineMs = options.deadlineMs ?? defaults.deadlineMs;
  const lock = await takeLock(store.lockDir, {
    key: `layer-${hexOf(pair.chainId)}`,
    mode: "exclusive",
    deadlineMs,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  try {
    if (existsSync(target)) return;
    const ticks = (await processStartTicks(process.pid)) ?? 0;
    const temporary = hostPath(join(store.layersDir, `.tmp-${process.pid}.${ticks}.${hexOf(pair.chainId)}`));
    await removeLeftovers(store, pair.chainId);
    try {
      mkdirSync(temporary, { recursive: true, mode: 0o755 });
    } catch (error) {
      throw stateError(error, `${temporary} cannot be written`);
    }
    try {
      const opaque = await unpackLayer(store, subject, pair, { target: temporary, lowers }, options);
      // Before the layer itself: who sees the layer sees its list.
      if (opaque.length > 0)
        await writeFile(`${target}.json`, JSON.stringify({ version: 1, opaque }), { mode: 0o600 });
      renameSync(temporary, target);
    } finally {
      await removeTree(temporary, { beneath: store.layersDir });
    }
  } finally {
    await lock.release();
  }
}

/** Under the layer's lock whatever is unfinished of it was left by a process that died. */
async function removeLeftovers(store: Store, chainId: Digest): Promise<void> {
  if (!existsSync(store.layersDir)) return;
  for (const name of await readdir(store.layersDir))
    if (name.startsWith(".tmp-") && name.endsWith(`.${hexOf(chainId)}`))
      await removeTree(hostPath(join(store.layersDir, name)), { beneath: store.layersDir });
}

const maxOpaque = 100_000;
const opaqueMarker = ".wh..wh..opq";

/** Returns the directories that hide what is below them, as the tar writes them. */
async function unpackLayer(
  store: Store,
  subject: string,
  pair: LayerPair,
  place: LayerPlace,
  options: UnpackOptions,
): Promise<readonly string[]> {
  const { layer, diffId, compression } = pair;
  const path = store.blobPath(layer.digest);
  if (!existsSync(path))
    throw new TripodError("image-corrupt", `${subject} (${layer.digest}) is not in the store`, {
      hint: "pull or load the image again",
    });
  const compressed = new Meter();
  const plain = new Meter();
  const opaque: string[] = [];
  const scanner = tolerantScanner((name) => {
    if (opaque.length < maxOpaque) opaque.push(name);
  });
  const look = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      plain.add(chunk);
      scanner(chunk);
      done(undefined, chunk);
    },
  });
  const measure = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      compressed.add(chunk);
      done(undefined, chunk);
    },
  });
  const maxBytes = options.maxBytes ?? defaults.maxBytes;
  const child = spawnUnpack(options, place, maxBytes);
  const answer = readUnpackAnswer(child, subject);
  const deadline = AbortSignal.timeout(options.deadlineMs ?? defaults.deadlineMs);
  const signal = options.signal === undefined ? deadline : AbortSignal.any([options.signal, deadline]);
  const source = createReadStream(path, { highWaterMark: 1 << 20 });
  const unpacker = child.stdin;
  if (unpacker === null) throw new TripodError("bug", "the unpacker has no standard input");
  const stages =
    compression === "none"
      ? [source, measure, look, unpacker]
      : [source, measure, decompressor(compression), look, unpacker];
  let failure: unknown;
  try {
    await pipeline(stages, { signal });
  } catch (error) {
    failure = error;
    child.kill("SIGKILL");
  }
  const result = await answer;
  if (deadline.aborted)
    throw new TripodError(
      "timeout",
      `${subject} could not be unpacked within ${options.deadlineMs ?? defaults.deadlineMs} ms`,
    );
  options.signal?.throwIfAborted();
  // The unpacker may have seen the end of what a failed decompressor gave, and refuse that: the cause goes first.
  const damage = decompressionError(failure, subject);
  if (damage !== undefined) throw damage;
  if ("refusal" in result) {
    // The unpacker's refusal explains the broken pipe; but altered bytes explain the refusal.
    const actual = await digestOfFile(path);
    throw actual === layer.digest ? result.refusal : digestMismatch(subject, actual, layer.digest);
  }
  if ("silence" in result && isBrokenPipe(failure)) throw result.silence;
  if (failure !== undefined) throw failure;
  if (compressed.size !== layer.size) throw sizeMismatch(subject, compressed.size, layer);
  const blobDigest = compressed.digest();
  if (blobDigest !== layer.digest) throw digestMismatch(subject, blobDigest, layer.digest);
  const plainDigest = plain.digest();
  if (plainDigest !== diffId) throw digestMismatch(`${subject}, uncompressed`, plainDigest, diffId);
  if ("silence" in result) throw result.silence;
  return opaque;
}

function spawnUnpack(options: UnpackOptions, place: LayerPlace, maxBytes: number): ChildProcess {
  const argv = [
    "unpack",
    "--into",
    place.target,
    ...place.lowers.flatMap((lower) => ["--lower", lower]),
    "--max-bytes",
    String(maxBytes),
    "--max-entries",
    String(options.maxEntries ?? defaults.maxEntries),
  ];
  return spawn(options.warden, argv, { env: { ...plainEnvironment }, stdio: ["pipe", "pipe", "pipe"] });
}

const decompressor = (compression: "gzip" | "zstd"): Transform =>
  compression === "gzip"
    ? createGunzip({ chunkSize: 1 << 18 })
    : createZstdDecompress({ chunkSize: 1 << 18 });

/** The opaque directories of a tar, for `find-file.ts`; where the tar is unsound the scan ends and the warden has the word. */
function tolerantScanner(onOpaque: (dir: string) => void): (chunk: Buffer) => void {
  const scanner = new TarStreamScanner(({ name }) => {
    const parts = name.split("/").filter((part) => part !== "" && part !== ".");
    if (parts.at(-1) === opaqueMarker) onOpaque(parts.slice(0, -1).join("/"));
  });
  let isSound = true;
  return (chunk) => {
    if (!isSound) return;
    try {
      scanner.push(chunk);
    } catch {
      isSound = false;
    }
  };
}

/** The unpacker went away before it had read all. */
const isBrokenPipe = (error: unknown): boolean =>
  ["EPIPE", "ECONNRESET", "ERR_STREAM_PREMATURE_CLOSE", "ERR_STREAM_DESTROYED"].includes(
    errnoOf(error) ?? "",
  );

/** A decompressor's failure as an error of the image; undefined for other failures. */
function decompressionError(error: unknown, subject: string): TripodError | undefined {
  if (!(error instanceof Error) || !/^(?:Z_|ZSTD_|ERR_ZSTD)/.test(errnoOf(error) ?? "")) return undefined;
  return new TripodError("image-corrupt", `${subject} cannot be decompressed: ${error.message}`, {
    hint: "remove the image and pull it again",
    cause: error,
  });
}

async function digestOfFile(path: HostPath): Promise<Digest> {
  const meter = new Meter();
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) meter.add(chunk);
  return meter.digest();
}

/** Counts and hashes what flows by. */
class Meter {
  size = 0;
  readonly #hash = createHash("sha256");

  add(chunk: Uint8Array): void {
    this.size += chunk.byteLength;
    this.#hash.update(chunk);
  }

  digest(): Digest {
    return digestOfHex(this.#hash.digest("hex"));
  }
}
