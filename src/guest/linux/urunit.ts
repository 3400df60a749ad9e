/**
 * The configuration that urunit, urunc's first process for Linux guests, reads; ours reads the same. Sections in a fixed order, each optional, each
 * with its end mark: environment, process, disks to mount.
 */

import { TripodError } from "../../spec/errors.ts";
import { unsayable, variableName } from "../words.ts";

export interface UrunitConfig {
  /** `NAME=value` each. */
  readonly env: readonly string[];
  readonly user: { readonly uid: number; readonly gid: number };
  readonly cwd: string;
  /** Serial numbers of the disks, with where they are mounted. */
  readonly mounts: readonly { readonly id: string; readonly at: string }[];
}

/** Serial numbers are compared in a buffer of this many bytes, the last of them a NUL. */
const maxIdBytes = 9;

const section = (begin: string, lines: readonly string[], end: string): readonly string[] =>
  lines.length === 0 ? [] : [begin, ...lines, end];

/** The file's text. Throws `usage` for what a line of it cannot hold. */
export function urunitConfig({ env, user, cwd, mounts }: UrunitConfig): string {
  for (const entry of env) checkLine(entry, variableName(entry));
  // An empty directory makes the whole file void, and blanks after a key are skipped.
  const directory = cwd === "" ? "/" : cwd;
  checkLine(directory, "the working directory");
  if (directory.trimStart() !== directory || !directory.startsWith("/"))
    throw unsayable("the working directory", `${JSON.stringify(directory)} is not absolute`);
  for (const { id, at } of mounts) {
    checkLine(at, "the mount point");
    if (!at.startsWith("/")) throw unsayable("the mount point", `${JSON.stringify(at)} is not absolute`);
    if (!/^[\x21-\x7e]+$/.test(id) || Buffer.byteLength(id) > maxIdBytes)
      throw new TripodError("bug", `${JSON.stringify(id)} is no serial number that urunit finds`);
  }
  return [
    ...section("UES", env, "UEE"),
    ...section("UCS", [`UID:${user.uid}`, `GID:${user.gid}`, `WD:${directory}`], "UCE"),
    ...section(
      "UBS",
      mounts.flatMap(({ id, at }) => [`ID:${id}`, `MP:${at}`]),
      "UBE",
    ),
    "",
  ].join("\n");
}

function checkLine(value: string, what: string): void {
  if (/[\n\r\0]/.test(value))
    throw unsayable(what, "has a line break or a NUL, which the guest's configuration cannot carry");
}
