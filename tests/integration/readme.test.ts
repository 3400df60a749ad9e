/** What the README tells a user to type, typed. */

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type Outcome, eventually, httpGet, makeLab, outcomeOf, tree } from "../support/tripod.ts";

const readme = readFileSync(join(tree, "README.md"), "utf8");

/** Commands of the README's shell blocks, without their comments. */
const commands = [...readme.matchAll(/^```sh\n([\s\S]*?)^```/gm)]
  .flatMap(([, block = ""]) => block.split("\n"))
  .flatMap((line) => line.replace(/\s+#.*$/, "").split(";"))
  .map((command) => command.trim().split(/\s+/))
  .filter(([program]) => program === "./tripod")
  .map(([, ...argv]) => argv);

test("every command of the README does what a user expects", { timeout: 300_000 }, async (t) => {
  const lab = makeLab(t);
  assert.ok(commands.length >= 10, "the README shows commands");
  const followed: Promise<Outcome>[] = [];
  for (const argv of commands) {
    const what = `tripod ${argv.join(" ")}`;
    // A port of its own: 8080 may be somebody else's here.
    const own = argv.map((word) => (word === "8080:80" ? "0:80" : word));
    if (argv.some((word) => word.includes("docker.io"))) {
      // No registry is reached from a test: what is checked is that the command is understood.
      const outcome = await lab.tripod([...own.slice(0, 1), "--pull", "never", ...own.slice(1)]);
      assert.match(outcome.stderr, /not in the store/, what);
    } else if (argv[0] === "run" && !argv.includes("-d")) {
      const child = lab.start(own);
      let story = "";
      child.stderr?.on("data", (chunk: Buffer) => (story += chunk.toString()));
      const ended = outcomeOf(child, what, 60_000);
      const address = await eventually(`the address of ${what}`, () => /http:\/\/([\d.]+)/.exec(story)?.[1]);
      assert.match(await httpGet(`http://${address}/`), /httpreply/);
      child.kill("SIGINT");
      await ended;
    } else if (argv.includes("-f") && argv[0] === "logs") {
      // It follows until the sandbox is removed, by the last of these commands.
      const child = lab.start(own);
      followed.push(outcomeOf(child, what, 120_000));
    } else {
      await lab.ok(own);
    }
  }
  for (const { stdout } of await Promise.all(followed)) assert.match(stdout, /listening on/);
  assert.equal((await lab.ok(["ps", "-a", "-q"])).trim(), "");
});

test("every page that the README and the docs link to is there", () => {
  for (const page of ["README.md", "docs/ARCHITECTURE.md", "docs/SECURITY.md", "docs/SPECIFICATION.md"]) {
    const text = readFileSync(join(tree, page), "utf8");
    for (const [, target = ""] of text.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g))
      assert.ok(existsSync(join(tree, page, "..", target)), `${page} links to ${target}`);
  }
});
