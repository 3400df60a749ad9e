/** Where a dynamically linked monitor finds its libraries and firmware on this host, to be bound read-only into its private root. */

import { realpath } from "node:fs/promises";
import { hostPath, sandboxPath } from "../spec/paths.ts";
import type { Arch, BindNeed } from "../spec/values.ts";

const triplets: Readonly<Record<Arch, string>> = { amd64: "x86_64-linux-gnu", arm64: "aarch64-linux-gnu" };

/**
 * The loader's and the libraries' directories. Whole directories, because a monitor loads modules by name later; they hold distribution
 * files that everyone may read. `/lib` may be a link to `/usr/lib`: bound from its target at the name that programs use.
 */
export async function libraryBinds(arch: Arch): Promise<BindNeed[]> {
  const names = ["/lib64", `/lib/${triplets[arch]}`, `/usr/lib/${triplets[arch]}`, "/usr/share/qemu", "/usr/share/seabios"];
  const binds: BindNeed[] = [];
  for (const name of names) {
    const from = await realpath(name).catch(() => undefined);
    if (from !== undefined) binds.push({ from: hostPath(from), at: sandboxPath(name) });
  }
  return binds;
}
