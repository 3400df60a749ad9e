/**
 * The TypeScript half of `tripod-runtime`: `converse` decides for one `create`, over the stream that is its stdin, where no tripodd answers; `answer`
 * carries out a verb with the caller's arguments.
 */

import { flushCompileCache } from "node:module";
import { Socket } from "node:net";
import { converse } from "../../lifecycle/engine/create.ts";
import { openContext } from "../context.ts";

const open = () =>
  openContext({ root: process.env["TRIPOD_ROOT"], config: process.env["TRIPOD_CONFIG"] }, "engine");

async function main([verb, ...argv]: readonly string[]): Promise<number> {
  if (verb === "converse") {
    const stream = new Socket({ fd: 0 });
    const closed = new Promise((resolve) => stream.once("close", resolve));
    // The runtime ends us with the conversation: what V8 has compiled is kept before, or every start would compile it anew.
    await converse(stream, await open(), { beforeLast: () => flushCompileCache() });
    stream.end();
    await closed;
    return 0;
  }
  const { answer } = await import("./answer.ts");
  return await answer(argv, open);
}

void main(process.argv.slice(2)).then(
  (status) => process.exit(status),
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  },
);
