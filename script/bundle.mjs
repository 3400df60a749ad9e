// Bundles the programs for production: a CommonJS file each, whose parts (and Node's own modules) load when they are used, and an
// entry that keeps V8's compiled code beside it.
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { build } from "esbuild";

/** Each program: its source, and the name of its entry in build/. */
const programs = [
  { source: "src/cli/main.ts", name: "tripod" },
  { source: "src/cli/runtime/main.ts", name: "runtime" },
  { source: "src/cli/daemon.ts", name: "tripodd" },
];

/** Modules of Node's that take milliseconds to load and that most commands do without: each is loaded when the first of its exports is used. */
const heavy = /^node:(?:child_process|crypto|dns\/promises|fs\/promises|http|https|os|readline|zlib)$/;
const require = createRequire(import.meta.url);
const whenUsed = {
  name: "when-used",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: heavy }, ({ path, namespace }) =>
      namespace === "when-used" ? { path, external: true } : { path, namespace: "when-used" },
    );
    onLoad({ filter: heavy, namespace: "when-used" }, ({ path }) => {
      const names = Object.keys(require(path)).filter((name) => /^[\w$]+$/.test(name));
      const getters = names.map((name) => `get ${name}() { return load().${name}; },`);
      return {
        contents: `const load = () => require(${JSON.stringify(path)});\nmodule.exports = {\n${getters.join("\n")}\n};\n`,
      };
    });
  },
};

mkdirSync("build/bundle", { recursive: true });
rmSync("build/bundle/cache", { recursive: true, force: true });
for (const { source, name } of programs) {
  await build({
    entryPoints: [source],
    outfile: `build/bundle/${name}.next.cjs`,
    bundle: true,
    format: "cjs",
    platform: "node",
    target: "node24",
    minifySyntax: true,
    plugins: [whenUsed],
    legalComments: "none",
    logLevel: "warning",
    define: { "import.meta.dirname": "__dirname" },
  });
  // Renamed, not written over: a command may be running from it.
  renameSync(`build/bundle/${name}.next.cjs`, `build/bundle/${name}.cjs`);
  writeFileSync(
    `build/${name}.next.cjs`,
    `require("node:module").enableCompileCache(__dirname + "/bundle/cache");\nrequire("./bundle/${name}.cjs");\n`,
  );
  renameSync(`build/${name}.next.cjs`, `build/${name}.cjs`);
}
