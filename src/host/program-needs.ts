/** Finds on this host what a monitor's program needs in its private root: libraries and data files (`monitor/monitor.ts`). */

import { closeSync, openSync, readSync } from "node:fs";
import { access, realpath } from "node:fs/promises";
import { join } from "node:path";
import type { ProgramNeeds } from "../monitor/monitor.ts";
import { TripodError } from "../spec/errors.ts";
import { hostPath, sandboxPath } from "../spec/paths.ts";
import type { Arch, BindNeed } from "../spec/values.ts";

/** PT_INTERP */
const programInterpreter = 3;

const triplets: Readonly<Record<Arch, string>> = { amd64: "x86_64-linux-gnu", arm64: "aarch64-linux-gnu" };

/**
 * The loader's and the libraries' directories, whole: a program loads modules and their libraries by name later, and a bind a library (QEMU has a
 * hundred) would cost more than the start. They hold distribution files that everyone may read.
 */
const libraryDirs = (arch: Arch): string[] => [
  "/lib64",
  `/lib/${triplets[arch]}`,
  `/usr/lib/${triplets[arch]}`,
];

/** The binds. Throws `monitor-missing` naming the file that is not there. */
export async function findNeeds(program: string, needs: ProgramNeeds, arch: Arch): Promise<BindNeed[]> {
  const binds: BindNeed[] = [];
  const covered: string[] = [];
  if (needs.libraries === true || (needs.libraries === "as-linked" && isDynamic(program)))
    for (const dir of libraryDirs(arch)) {
      const from = await realpath(dir).catch(() => undefined);
      if (from === undefined) continue;
      // Libraries are mapped executable.
      binds.push({ from: hostPath(from), at: sandboxPath(dir), executable: true });
      covered.push(`${dir}/`);
    }
  for (const { names, dirs, at, modules } of needs.files)
    for (const name of names) {
      const found = await firstFound(dirs, name);
      // A module that a build does not have is built in.
      if (found === undefined && modules) continue;
      if (found === undefined)
        throw new TripodError(
          "monitor-missing",
          `${program} needs ${name}, which is in none of ${dirs.join(", ")}`,
          {
            hint: "reinstall the monitor's package",
          },
        );
      if (at === undefined && covered.some((dir) => found.startsWith(dir))) continue;
      binds.push({
        from: hostPath(await realpath(found)),
        at: sandboxPath(at === undefined ? found : join(at, name)),
        ...(modules ? { executable: true } : {}),
      });
    }
  return binds;
}

/** Whether an ELF program names an interpreter. What is no ELF program is somebody's wrapper, and needs one too. */
function isDynamic(program: string): boolean {
  const file = openSync(program, "r");
  try {
    const head = Buffer.alloc(4096);
    const length = readSync(file, head, 0, head.length, 0);
    if (length < 64 || head.readUInt32BE(0) !== 0x7f454c46 || head[4] !== 2) return true;
    const [at, size, count] = [
      Number(head.readBigUInt64LE(32)),
      head.readUInt16LE(54),
      head.readUInt16LE(56),
    ];
    for (let index = 0; index < count; index++) {
      const entry = at + index * size;
      // The table follows the header in every program that a linker makes.
      if (entry + 4 > length) return true;
      if (head.readUInt32LE(entry) === programInterpreter) return true;
    }
    return false;
  } finally {
    closeSync(file);
  }
}

async function firstFound(dirs: readonly string[], name: string): Promise<string | undefined> {
  for (const dir of dirs) {
    const path = join(dir, name);
    if (
      await access(path).then(
        () => true,
        () => false,
      )
    )
      return path;
  }
  return undefined;
}
