/** From flags and environment to the context that every verb takes. */

import { loadConfig } from "../host/config-file.ts";
import { type Context, installationTree, programsOf, rootsOf } from "../lifecycle/context.ts";
import type { Terminal } from "./terminal.ts";

/** Where the state and the configuration lie; `undefined`: where they do by default. */
export interface Places {
  readonly root: string | undefined;
  readonly config: string | undefined;
}

/** Of the command line's sandboxes, or of an engine's. Throws `usage`, `config-invalid`, `setup-missing`. */
export async function openContext(
  places: Places,
  namespace: "default" | "engine" = "default",
): Promise<Context> {
  const tree = installationTree();
  return {
    roots: rootsOf(places.root),
    namespace,
    config: await loadConfig(places.config),
    programs: programsOf(tree),
    tree,
  };
}

/** Tells on a terminal that the machine is being probed, since a first probe takes a moment. */
export const probeNote = (terminal: Terminal) => (): void => {
  if (terminal.showsProgress) terminal.note("looking at what this machine can do …");
};
