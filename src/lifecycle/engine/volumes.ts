/** The bind mounts of a bundle: an engine's own files, secrets, and the volumes that a user gave. File systems of the kernel are a guest's own business. */

import { type Stats, statSync } from "node:fs";
import { posix, resolve } from "node:path";
import { TripodError, errnoOf } from "../../spec/errors.ts";
import { hostPath, sandboxPath } from "../../spec/paths.ts";
import type { HostVolume } from "../volumes.ts";
import type { Bundle } from "./bundle.ts";

/** In the bundle's order. Throws `bundle-invalid` for a source that is not there. */
export function volumesOf({ dir, config }: Pick<Bundle, "dir" | "config">): readonly HostVolume[] {
  return (config.mounts ?? []).flatMap(({ destination, source, options, type }, index) => {
    const said = new Set(options ?? []);
    if (type !== "bind" && !said.has("bind") && !said.has("rbind")) return [];
    if (!source) throw new TripodError("bundle-invalid", `config.json: mounts.${index}.source is missing`);
    // A relative destination is one of the root, as runc reads it.
    const at = posix.resolve("/", destination);
    if (at === "/")
      throw new TripodError("bundle-invalid", `config.json: mounts.${index}.destination is the root itself`);
    const from = resolve(dir, source);
    const stat = statOf(from, `mounts.${index}.source`);
    return [
      {
        from: hostPath(from),
        at: sandboxPath(at),
        // The later word counts.
        readonly: (options ?? []).findLast((option) => option === "ro" || option === "rw") === "ro",
        recursive: said.has("rbind"),
        ...(stat.isFile() ? { file: { mode: stat.mode & 0o777, sizeBytes: stat.size } } : {}),
      },
    ];
  });
}

function statOf(path: string, field: string): Stats {
  try {
    return statSync(path);
  } catch (cause) {
    throw new TripodError(
      "bundle-invalid",
      `config.json: ${field}: ${path} cannot be used: ${errnoOf(cause) ?? String(cause)}`,
      { cause },
    );
  }
}
