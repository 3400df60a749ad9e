/** Archives in the format of Linux's initial RAM file systems: cpio, "newc". */

export interface CpioEntry {
  /** Without a leading slash. */
  readonly path: string;
  /** Type and permissions, as stat(2) has them: `0o100755` for a program, `0o40755` for a directory, `0o120777` for a link. */
  readonly mode: number;
  /** A file's bytes or a link's target. */
  readonly content?: Buffer | string;
}

/** The archive of these entries, in this order, all of them root's. */
export function cpio(entries: readonly CpioEntry[]): Buffer {
  const parts = [...entries, { path: "TRAILER!!!", mode: 0 }].flatMap((entry: CpioEntry, index) => {
    const content = Buffer.from(entry.content ?? "");
    const name = Buffer.from(`${entry.path}\0`);
    // inode, mode, uid, gid, links, mtime, size, device, device of the node, name's size, checksum
    const fields = [index + 1, entry.mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, name.length, 0];
    const head = fields.map((field) => field.toString(16).padStart(8, "0")).join("");
    return [padded(Buffer.concat([Buffer.from(`070701${head}`), name])), padded(content)];
  });
  return Buffer.concat(parts);
}

const padded = (bytes: Buffer): Buffer => Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
