/**
 * A directory or a tar archive as a set of named files that can be read at offsets. Names come from us (`index.json`, `blobs/sha256/…`) or
 * are looked up among the archive's own entries; nothing is ever written under a name from outside.
 */

import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { TripodError, errnoOf } from "../../spec/errors.ts";
import type { HostPath } from "../../spec/paths.ts";
import { type TarEntry, TarScanner } from "../tar-scan.ts";

export interface FileTree extends AsyncDisposable {
  /** For messages. */
  readonly subject: string;
  /** The whole file; undefined when there is none. Throws `image-invalid` when it is larger than `maxBytes`. */
  read(name: string, maxBytes: number): Promise<Buffer | undefined>;
  /** The file from an offset on; undefined when there is none. */
  stream(name: string, offset: number): Promise<AsyncIterable<Uint8Array> | undefined>;
}

const chunkBytes = 1 << 18;

async function* readRange(file: FileHandle, from: number, to: number): AsyncGenerator<Uint8Array> {
  for (let at = from; at < to;) {
    const buffer = Buffer.allocUnsafe(Math.min(chunkBytes, to - at));
    const { bytesRead } = await file.read(buffer, 0, buffer.byteLength, at);
    if (bytesRead === 0) return;
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

async function readWhole(
  file: FileHandle,
  from: number,
  size: number,
  maxBytes: number,
  subject: string,
): Promise<Buffer> {
  if (size > maxBytes) throw new TripodError("image-invalid", `${subject} is larger than ${maxBytes} bytes`);
  const chunks: Uint8Array[] = [];
  for await (const chunk of readRange(file, from, from + size)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** A directory. Symbolic links in the last place are refused: a layout has none. */
export function directoryTree(path: HostPath): FileTree {
  const openFile = async (name: string): Promise<{ file: FileHandle; size: number } | undefined> => {
    let file: FileHandle;
    try {
      file = await open(join(path, name), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    } catch (error) {
      if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ENOTDIR") return undefined;
      throw new TripodError(
        "image-invalid",
        `${join(path, name)} cannot be read: ${errnoOf(error) ?? String(error)}`,
        {
          cause: error,
        },
      );
    }
    const stat = await file.stat();
    if (stat.isFile()) return { file, size: stat.size };
    await file.close();
    throw new TripodError("image-invalid", `${join(path, name)} is not a regular file`);
  };
  return {
    subject: path,
    read: async (name, maxBytes) => {
      const opened = await openFile(name);
      if (opened === undefined) return undefined;
      try {
        return await readWhole(opened.file, 0, opened.size, maxBytes, `${path}/${name}`);
      } finally {
        await opened.file.close();
      }
    },
    stream: async (name, offset) => {
      const opened = await openFile(name);
      return opened && closing(opened.file, readRange(opened.file, offset, opened.size));
    },
    [Symbol.asyncDispose]: async () => {},
  };
}

async function* closing(file: FileHandle, content: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* content;
  } finally {
    await file.close();
  }
}

const maxEntries = 200_000;
const maxLinks = 8;

/** An uncompressed tar in a regular file, which is closed with the tree. Throws `image-invalid` when it is no sound tar. */
export async function archiveTree(path: HostPath, subject: string): Promise<FileTree> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const { size } = await file.stat();
    const entries = await listEntries(file, size, subject);
    const find = (name: string): TarEntry | undefined => {
      let entry = entries.get(name);
      // docker's old archives have a layer twice by a link to the other's directory.
      for (let hop = 0; entry !== undefined && (entry.type === "1" || entry.type === "2"); hop++) {
        if (hop === maxLinks) return undefined;
        const base = entry.type === "2" ? entry.name.split("/").slice(0, -1).join("/") : "";
        entry = entries.get(cleanName(`${base}/${entry.linkName}`));
      }
      return entry?.type === "0" || entry?.type === "7" ? entry : undefined;
    };
    const check = (entry: TarEntry): TarEntry => {
      if (entry.dataAt + entry.size <= size) return entry;
      throw new TripodError(
        "image-corrupt",
        `${subject} is truncated within ${JSON.stringify(entry.name.slice(0, 200))}`,
      );
    };
    return {
      subject,
      read: async (name, maxBytes) => {
        const entry = find(name);
        if (entry === undefined) return undefined;
        return readWhole(file, check(entry).dataAt, entry.size, maxBytes, `${subject}: ${name}`);
      },
      stream: async (name, offset) => {
        const entry = find(name);
        return entry && readRange(file, check(entry).dataAt + offset, entry.dataAt + entry.size);
      },
      [Symbol.asyncDispose]: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function listEntries(
  file: FileHandle,
  size: number,
  subject: string,
): Promise<ReadonlyMap<string, TarEntry>> {
  const entries = new Map<string, TarEntry>();
  const scanner = new TarScanner();
  for (let at = 0; scanner.need > 0;) {
    at += scanner.skip;
    // Archives without the two zero blocks at their end are common.
    if (at >= size) break;
    const block = await readWhole(file, at, scanner.need, scanner.need, subject);
    if (block.byteLength < scanner.need) throw new TripodError("image-corrupt", `${subject} is truncated`);
    at += block.byteLength;
    const entry = accept(scanner, block, subject);
    if (entry === undefined) continue;
    entries.set(cleanName(entry.name), entry);
    if (entries.size > maxEntries)
      throw new TripodError("image-invalid", `${subject} has more than ${maxEntries} entries`);
  }
  return entries;
}

/** The scanner knows no names of files. */
function accept(scanner: TarScanner, block: Buffer, subject: string): TarEntry | undefined {
  try {
    return scanner.accept(block);
  } catch (cause) {
    if (!(cause instanceof TripodError)) throw cause;
    throw new TripodError(cause.code, `${subject} is ${cause.message}`, {
      hint: "make one by docker save, skopeo copy … oci-archive:FILE or tripod save",
      cause,
    });
  }
}

/** `./a//b/../c` → `a/c`; a key of the map only, never a path on disk. */
function cleanName(name: string): string {
  const parts: string[] = [];
  for (const part of name.split("/"))
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  return parts.join("/");
}
