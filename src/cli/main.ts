/** The entry of `tripod`. Loads nothing that the command in hand does not need. */

import { runCommandLine } from "./cli.ts";
import { commands } from "./commands.ts";
import { processTerminal } from "./terminal.ts";

// A reader that has gone away (`| head`) ends us without a word, as it would any other program.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(141);
  throw error;
});

const status = await runCommandLine(process.argv.slice(2), commands, process.env, processTerminal());
// A pipe takes its bytes later; a forgotten handle must not keep us.
process.stdout.write("", () => process.exit(status));
