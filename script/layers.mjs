// The layer check: a folder of src/ imports only folders above it in this list, and what is pure does not touch the machine.
// Prints every violation as file:line and exits 1 if there is one. Usage: node script/layers.mjs [DIRECTORY], default src.
import { readFileSync, readdirSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";

/** From the top: each may import itself and those before it. */
const order = [
  "spec",
  "select",
  "guest",
  "monitor",
  "mode",
  "wire",
  "host",
  "image",
  "lifecycle",
  "app",
  "daemon",
  "cli",
];

/** Folders that know nothing of the machine they run on. Their tests may. */
const pure = new Set(["spec", "select", "guest", "monitor", "mode", "wire"]);

/** Modules of Node with which the machine could be touched. */
const machineModules =
  /^(node:)?(fs|child_process|net|http|https|http2|os|worker_threads|dgram|dns|tls|cluster|process|readline|repl|tty|sqlite|inspector)(\/|$)/;

/** Folders that may import nothing but spec/. */
const specOnly = new Set(["select", "wire"]);

/** Narrower rules than the order, with their reason. */
const forbidden = [
  { from: "guest", to: "monitor", why: "guests and monitors meet in mode/ through plain data" },
  { from: "monitor", to: "guest", why: "guests and monitors meet in mode/ through plain data" },
  { from: "guest", to: "select", why: "a driver is not told why it was chosen" },
  { from: "monitor", to: "select", why: "a driver is not told why it was chosen" },
];

const root = resolve(process.argv[2] ?? "src");

/** Specifiers with their lines: static and dynamic imports and re-exports, found in code without its comments. */
function importsOf(text) {
  const code = text
    .replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, " "))
    .replace(/^(\s*)\/\/.*$/gm, "$1");
  const found = [];
  const pattern =
    /(?:^|[;}\s])(?:import|export)\s(?:[^;"'`()]*?\sfrom\s*)?["']([^"']+)["']|\bimport\s*\(\s*["'`]([^"'`]+)["'`]/g;
  for (const match of code.matchAll(pattern)) {
    const at = match.index + match[0].length;
    found.push({ specifier: match[1] ?? match[2], line: code.slice(0, at).split("\n").length });
  }
  return found;
}

function sourceFiles(dir) {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(ts|mts|mjs|js)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted();
}

const violations = [];
for (const file of sourceFiles(root)) {
  const folder = relative(root, file).split(sep)[0];
  const isTest = file.endsWith(".test.ts");
  const text = readFileSync(file, "utf8");
  const report = (line, why) => violations.push(`${relative(process.cwd(), file)}:${line}: ${why}`);
  if (!order.includes(folder)) {
    report(1, `src/${folder} has no place in the order of layers`);
    continue;
  }
  for (const { specifier, line } of importsOf(text)) {
    if (!specifier.startsWith(".")) {
      if (pure.has(folder) && !isTest && machineModules.test(specifier))
        report(line, `${folder}/ is pure and must not import ${specifier}`);
      continue;
    }
    const target = relative(root, resolve(dirname(file), specifier)).split(sep)[0];
    if (target === "..") {
      // Golden files and vectors beside the tests of both languages are data, not code.
      if (!isTest) report(line, `${specifier} lies outside of src/`);
      continue;
    }
    if (target === folder) continue;
    const rule = forbidden.find(({ from, to }) => from === folder && to === target);
    if (rule !== undefined) report(line, `${folder}/ must not import ${target}/: ${rule.why}`);
    else if (order.indexOf(target) > order.indexOf(folder) || !order.includes(target))
      report(line, `${folder}/ must not import ${target}/, which is below it`);
    else if (specOnly.has(folder) && target !== "spec")
      report(line, `${folder}/ imports spec/ only, not ${target}/`);
  }
  if (pure.has(folder) && !isTest)
    for (const [index, content] of text.split("\n").entries())
      if (
        /(?<![\w."'`])process\.(env|argv|cwd|pid|exit|std|kill)/.test(content.replace(/\/\/.*|\/?\*.*/, ""))
      )
        report(index + 1, `${folder}/ is pure and must not look at the process`);
}
for (const violation of violations) console.log(violation);
process.exitCode = violations.length === 0 ? 0 : 1;
