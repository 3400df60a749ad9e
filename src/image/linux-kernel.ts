/** Linux kernels that are no ELF: the x86 boot protocol's bzImage and arm64's Image. Bounded reads; loading is the monitor's. */

import { closeSync, constants, openSync, readSync } from "node:fs";
import type { HostPath } from "../spec/paths.ts";
import type { Arch } from "../spec/values.ts";

/** Each with a mark at a fixed place (kernel documentation: x86/boot, arm64/booting). */
const formats: readonly { readonly arch: Arch; readonly at: number; readonly mark: string }[] = [
  { arch: "amd64", at: 0x202, mark: "HdrS" },
  { arch: "arm64", at: 56, mark: "ARM\x64" },
];

/** For which architecture such a kernel is, or undefined for any other file. */
export function linuxImageArch(path: HostPath): Arch | undefined {
  const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const header = Buffer.alloc(0x210);
    const length = readSync(file, header, 0, header.length, 0);
    return formats.find(({ at, mark }) => header.toString("latin1", at, Math.min(length, at + 4)) === mark)
      ?.arch;
  } finally {
    closeSync(file);
  }
}
