/** From the global flags to the context that every verb takes. */

import { loadConfig } from "../host/config-file.ts";
import { type Context, installationTree, programsOf, rootsOf } from "../lifecycle/context.ts";
import type { Globals } from "./command.ts";
import type { Terminal } from "./terminal.ts";

/** The command line's sandboxes; containerd and the OCI command line have namespaces of their own. */
const namespace = "default";

/** Throws `usage`, `config-invalid`, `setup-missing`. */
export async function openContext(globals: Globals): Promise<Context> {
  const tree = installationTree();
  return {
    roots: rootsOf(globals.root),
    namespace,
    config: await loadConfig(globals.config),
    programs: programsOf(tree),
    tree,
  };
}

/** Tells on a terminal that the machine is being probed, since a first probe takes a moment. */
export const probeNote = (terminal: Terminal) => (): void => {
  if (terminal.showsProgress) terminal.note("looking at what this machine can do …");
};
