/**
 * Writes cpio archives of the format `newc`, as Linux unpacks them into its first root (kernel documentation, early-userspace/buffer-format). Every header and
 * every content begins on a boundary of 4 bytes. What lies on the host is not read: its header says its size, and it becomes a part of its own.
 */

import type { HostFile, InitrdPart } from "../../spec/values.ts";

const alignment = 4;
const directoryType = 0o040000;
const fileType = 0o100000;

/** A directory, or a file with what is in it. All belong to root. */
export interface Member {
  /** Relative to the root, without a slash at either end. */
  readonly name: string;
  /** Permission bits. */
  readonly mode: number;
  /** Absent: a directory. */
  readonly content?: Buffer | HostFile;
}

const padding = (length: number): Buffer => Buffer.alloc((alignment - (length % alignment)) % alignment);

function header(name: string, mode: number, sizeBytes: number, inode: number): Buffer {
  const links = (mode & directoryType) === 0 ? 1 : 2;
  const nameBytes = Buffer.from(`${name}\0`);
  // inode, mode, uid, gid, links, mtime, size, device, device of a node, length of the name, checksum
  const fields = [inode, mode, 0, 0, links, 0, sizeBytes, 0, 0, 0, 0, nameBytes.length, 0];
  const head = `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}`;
  const bytes = Buffer.concat([Buffer.from(head), nameBytes]);
  return Buffer.concat([bytes, padding(bytes.length)]);
}

/** One whole archive, in parts that follow each other without a gap. A file of the host must not change until it is read. */
export function archive(members: readonly Member[]): readonly InitrdPart[] {
  const parts: InitrdPart[] = [];
  let pending: Buffer[] = [];
  const flush = (): void => {
    if (pending.length > 0) parts.push({ content: Buffer.concat(pending).toString("base64") });
    pending = [];
  };
  for (const [index, { name, mode, content }] of members.entries()) {
    const sizeBytes =
      content === undefined ? 0 : Buffer.isBuffer(content) ? content.length : content.sizeBytes;
    const type = content === undefined ? directoryType : fileType;
    pending.push(header(name, type | mode, sizeBytes, index + 1));
    if (content === undefined) continue;
    if (Buffer.isBuffer(content)) pending.push(content, padding(content.length));
    else {
      flush();
      // What follows begins on the next boundary by the rule of an initrd's parts.
      parts.push({ path: content.path });
    }
  }
  pending.push(header("TRAILER!!!", 0, 0, 0));
  flush();
  return parts;
}
