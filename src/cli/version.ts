/** version: ours, our programs' and Node's. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { installationTree } from "../lifecycle/context.ts";
import type { Invocation } from "./command.ts";
import type { VersionOptions } from "./flags.ts";
import { printAnswer } from "./output.ts";

const packageSchema = v.object({ version: v.string() });

/** Needs no set-up: a bug report can always name its version. */
export async function handle({ options, terminal }: Invocation<VersionOptions>): Promise<number> {
  const tree = installationTree();
  const { version } = v.parse(packageSchema, JSON.parse(readFileSync(join(tree, "package.json"), "utf8")));
  const document = { schema: "tripod.version/1", version, node: process.version.slice(1), tree };
  await printAnswer(
    terminal,
    options.output,
    document,
    () => `tripod ${version} (Node ${document.node}, ${tree})\n`,
  );
  return 0;
}
