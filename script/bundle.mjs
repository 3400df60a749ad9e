// Bundles the command line for production: one CommonJS file, whose parts (and Node's own modules) load when they are used, and an
// entry that keeps V8's compiled code beside it.
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

mkdirSync("build/bundle", { recursive: true });
await build({
  entryPoints: ["src/cli/main.ts"],
  outfile: "build/bundle/main.next.cjs",
  bundle: true,
  format: "cjs",
  platform: "node",
  target: "node24",
  minifySyntax: true,
  legalComments: "none",
  logLevel: "warning",
  define: { "import.meta.dirname": "__dirname" },
});
rmSync("build/bundle/cache", { recursive: true, force: true });
// Renamed, not written over: a command may be running from it.
renameSync("build/bundle/main.next.cjs", "build/bundle/main.cjs");
writeFileSync(
  "build/tripod.next.cjs",
  'require("node:module").enableCompileCache(__dirname + "/bundle/cache");\nrequire("./bundle/main.cjs");\n',
);
renameSync("build/tripod.next.cjs", "build/tripod.cjs");
