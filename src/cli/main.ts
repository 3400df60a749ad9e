/** The entry of `tripod`. Loads nothing that the command in hand does not need. */

import { runCommandLine } from "./cli.ts";
import { commands } from "./commands.ts";
import { processTerminal } from "./terminal.ts";

const terminal = processTerminal();
// No top-level await: the bundle is one CommonJS file, whose parts load as they are used.
void runCommandLine(process.argv.slice(2), commands, process.env, terminal).then(async (status) => {
  await terminal.finish();
  // A forgotten handle must not keep us.
  process.exit(status);
});
