/**
 * Writes tars that are the same bit for bit wherever and whenever they are written: ustar headers only, numeric owner 0, one time for all,
 * entries in the byte order of their paths with every parent directory before its children.
 */

import { TripodError } from "../spec/errors.ts";

const block = 512;
const maxFileBytes = 8 ** 11 - 1;

export interface TarFile {
  /** Relative, without `.`, `..` or empty parts. */
  readonly path: string;
  readonly mode: number;
  readonly size: number;
  /** Yields exactly `size` bytes. */
  readonly content: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/** The whole archive. Throws `config-invalid` for names and sizes that ustar cannot hold. `mtime`: seconds since 1970, of all entries. */
export async function* writeTar(files: readonly TarFile[], mtime: number): AsyncGenerator<Uint8Array> {
  for (const entry of withParents(files)) {
    yield header(entry.path, entry.file, mtime);
    if (entry.file === undefined) continue;
    let written = 0;
    for await (const chunk of entry.file.content()) {
      written += chunk.byteLength;
      yield chunk;
    }
    if (written !== entry.file.size)
      throw new TripodError(
        "config-invalid",
        `${entry.path} changed while it was packed: ${written} bytes, not ${entry.file.size}`,
      );
    yield Buffer.alloc((block - (written % block)) % block);
  }
  yield Buffer.alloc(2 * block);
}

function withParents(
  files: readonly TarFile[],
): readonly { readonly path: string; readonly file: TarFile | undefined }[] {
  const entries = new Map<string, TarFile | undefined>();
  for (const file of files) {
    const parts = file.path.split("/");
    for (let depth = 1; depth < parts.length; depth++) {
      const parent = `${parts.slice(0, depth).join("/")}/`;
      if (entries.has(parent.slice(0, -1))) throw collision(parent.slice(0, -1));
      entries.set(parent, undefined);
    }
    if (entries.has(file.path) || entries.has(`${file.path}/`)) throw collision(file.path);
    entries.set(file.path, file);
  }
  return [...entries]
    .map(([path, file]) => ({ path, file }))
    .toSorted((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
}

const collision = (path: string): TripodError =>
  new TripodError("config-invalid", `/${path} is put into the image twice`);

function header(path: string, file: TarFile | undefined, mtime: number): Buffer {
  const bytes = Buffer.alloc(block);
  const { prefix, name } = splitName(path);
  bytes.write(name, 0);
  octal(bytes, 100, 8, file?.mode ?? 0o755);
  octal(bytes, 108, 8, 0);
  octal(bytes, 116, 8, 0);
  if ((file?.size ?? 0) > maxFileBytes)
    throw new TripodError("config-invalid", `${path} is larger than 8 GiB`);
  octal(bytes, 124, 12, file?.size ?? 0);
  octal(bytes, 136, 12, mtime);
  bytes.write("        ", 148);
  bytes.write(file === undefined ? "5" : "0", 156);
  bytes.write("ustar\x0000", 257);
  octal(bytes, 329, 8, 0);
  octal(bytes, 337, 8, 0);
  bytes.write(prefix, 345);
  const sum = bytes.reduce((total, byte) => total + byte, 0);
  bytes.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return bytes;
}

/** ustar's name (100 bytes) and prefix (155 bytes), divided at a slash. */
function splitName(path: string): { readonly prefix: string; readonly name: string } {
  if (Buffer.byteLength(path) <= 100) return { prefix: "", name: path };
  for (let at = path.indexOf("/"); at > 0; at = path.indexOf("/", at + 1)) {
    const [prefix, name] = [path.slice(0, at), path.slice(at + 1)];
    if (name !== "" && Buffer.byteLength(prefix) <= 155 && Buffer.byteLength(name) <= 100)
      return { prefix, name };
  }
  throw new TripodError("config-invalid", `/${path} is too long a name for a layer`);
}

function octal(bytes: Buffer, at: number, width: number, value: number): void {
  bytes.write(`${value.toString(8).padStart(width - 1, "0")}\0`, at);
}
