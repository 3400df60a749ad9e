/** `version`: the lines that docker, podman and go-runc read. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { installationTree } from "../../lifecycle/context.ts";
import { type Verb, noArguments } from "./answer.ts";

/** Newest version of the runtime specification whose parts are all understood or passed over as it allows. */
export const specVersion = "1.2.0";

const packageSchema = v.object({ version: v.string() });

export const packageVersion = (): string =>
  v.parse(packageSchema, JSON.parse(readFileSync(join(installationTree(), "package.json"), "utf8"))).version;

export const version: Verb = async (call) => {
  noArguments(call);
  process.stdout.write(
    `tripod-runtime version ${packageVersion()}\nspec: ${specVersion}\nnode: ${process.version}\n`,
  );
};
