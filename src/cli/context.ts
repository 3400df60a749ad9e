/** From the global flags to the context that every verb takes. */

import { loadConfig } from "../host/config-file.ts";
import { type Context, installationTree, programsOf, rootsOf } from "../lifecycle/context.ts";
import { type NodeFacts, gatherFacts } from "../host/facts/facts.ts";
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

/** The node's facts for a command; a first probe is told on a terminal, since it takes a moment. */
export function nodeFacts(
  context: Context,
  terminal: Terminal,
  options: { readonly refresh?: boolean } = {},
): Promise<NodeFacts> {
  return gatherFacts({
    ...context,
    refresh: options.refresh ?? false,
    onProbe: () => {
      if (terminal.showsProgress) terminal.note("looking at what this machine can do …");
    },
  });
}
