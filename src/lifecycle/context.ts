/** What every verb needs to know about where it runs. Resolved once, at the start of a command. */

import { existsSync, lstatSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { stateError } from "../host/state-error.ts";
import { type HostPath, hostPath } from "../spec/paths.ts";
import { TripodError, errnoOf } from "../spec/errors.ts";
import type { Config } from "../spec/config.ts";

/** Where state lives: `run` for what runs (gone after a boot), `lib` for images, layers, networks and facts. */
export interface Roots {
  readonly run: HostPath;
  readonly lib: HostPath;
}

/** Our own programs. */
export interface Programs {
  readonly warden: HostPath;
  readonly tender: HostPath;
  /** The first process for Linux guests whose image brings none, for this machine's architecture; absent: not built. */
  readonly init?: HostPath;
}

export interface Context {
  readonly roots: Roots;
  /** Sandboxes of different namespaces never meet; the command line's is `default`. */
  readonly namespace: string;
  readonly config: Config;
  readonly programs: Programs;
  /** The installation: holds `bin/` and `examples/`. */
  readonly tree: HostPath;
}

/**
 * `/run/tripod` and `/var/lib/tripod`, or `run` and `lib` beneath `root`, as real paths: runc refuses a root file system behind a symbolic
 * link, and an installation must not have two names. Nothing is made. Throws `usage`, and `state-unwritable` or `not-root` where there can be no
 * such directories.
 */
export function rootsOf(root: string | undefined): Roots {
  if (root === undefined) return { run: realRoot("/run/tripod"), lib: realRoot("/var/lib/tripod") };
  const real = root.startsWith("/") ? realRoot(root) : root;
  if (!real.startsWith("/") || real === "/")
    throw new TripodError(
      "usage",
      `--root must be an absolute directory other than /, not ${JSON.stringify(root)}`,
    );
  return { run: realRoot(join(real, "run")), lib: realRoot(join(real, "lib")) };
}

const unusable = (message: string, cause?: unknown): TripodError =>
  new TripodError("state-unwritable", message, { cause });

/** The path with its existing part resolved. */
function realRoot(path: string): HostPath {
  try {
    const real = realpathSync.native(path);
    if (statSync(real).isDirectory()) return hostPath(real);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw stateError(error, `the state directory ${path} cannot be used`);
    if (lstatSync(path, { throwIfNoEntry: false }) === undefined)
      return hostPath(join(realRoot(dirname(path)), basename(path)));
    throw unusable(`${path} is a symbolic link to nothing`, error);
  }
  throw unusable(`${path}, where state is to be kept, is not a directory`);
}

/** The installation that this file belongs to, whether it runs as source or from the bundle. */
export function installationTree(from: string = import.meta.dirname): HostPath {
  for (let dir = from; dir !== "/"; dir = dirname(dir))
    if (existsSync(join(dir, "package.json"))) return hostPath(dir);
  throw new TripodError("setup-missing", `no installation around ${from}`);
}

/** Our programs in `bin/` of the installation. Throws `setup-missing` when one is not there. */
export function programsOf(tree: HostPath): Programs {
  const program = (name: string): HostPath => {
    const path = join(tree, "bin", name);
    if (!existsSync(path))
      throw new TripodError("setup-missing", `${path} is missing`, { hint: `${tree}/script/setup` });
    return hostPath(path);
  };
  const init = join(tree, "bin", "tripod-init");
  return {
    warden: program("tripod-warden"),
    tender: program("tripod-tender"),
    ...(existsSync(init) ? { init: hostPath(init) } : {}),
  };
}

/** The state directory of one sandbox. */
export const sandboxDir = (context: Context, id: string): HostPath =>
  hostPath(join(context.roots.run, context.namespace, id));
