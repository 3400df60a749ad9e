// Bundles the command line for production: one entry, handlers split off and loaded when used.
import { build } from "esbuild";
import { renameSync, rmSync } from "node:fs";

rmSync("build/.bundle", { recursive: true, force: true });
await build({
  entryPoints: { tripod: "src/cli/main.ts" },
  outdir: "build/.bundle",
  outExtension: { ".js": ".mjs" },
  chunkNames: "chunks/[name]-[hash]",
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node24",
  minifySyntax: true,
  legalComments: "none",
  logLevel: "warning",
  // commander is CommonJS inside; its requires of node's own modules need a require.
  banner: { js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);' },
});
rmSync("build/chunks", { recursive: true, force: true });
renameSync("build/.bundle/chunks", "build/chunks");
renameSync("build/.bundle/tripod.mjs", "build/tripod.mjs");
