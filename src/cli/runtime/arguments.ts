/** The command line of `tripod-runtime` for the verbs that are TypeScript's, as runc has it (`native/warden/src/runtime/arguments.rs` reads it first). */

import { join } from "node:path";
import { parseArgs } from "node:util";
import { TripodError } from "../../spec/errors.ts";
import { type HostPath, hostPath } from "../../spec/paths.ts";

type Flags = Readonly<Record<string, { readonly type: "string" | "boolean"; readonly short?: string }>>;

const text = { type: "string" } as const;
const toggle = { type: "boolean" } as const;

const globalFlags = {
  root: text,
  log: text,
  "log-format": text,
  rootless: text,
  criu: text,
  "cgroup-manager": text,
  debug: toggle,
  "systemd-cgroup": toggle,
  help: { type: "boolean", short: "h" },
  version: { type: "boolean", short: "v" },
} as const satisfies Flags;

const verbFlags: Readonly<Record<string, Flags>> = {
  events: { interval: text, stats: toggle },
  spec: { bundle: { type: "string", short: "b" }, rootless: toggle },
  update: {
    resources: { type: "string", short: "r" },
    memory: text,
    "memory-swap": text,
    "memory-reservation": text,
    "cpu-period": text,
    "cpu-quota": text,
    "cpu-share": text,
    "cpuset-cpus": text,
    "cpuset-mems": text,
    "pids-limit": text,
    // Known to runc, refused with a reason where they are given.
    "blkio-weight": text,
    "cpu-burst": text,
    "cpu-idle": text,
    "cpu-rt-period": text,
    "cpu-rt-runtime": text,
    "kernel-memory": text,
    "kernel-memory-tcp": text,
    "l3-cache-schema": text,
    "mem-bw-schema": text,
  },
};

export interface RuntimeCall {
  readonly verb: string;
  readonly flags: Readonly<Record<string, string | boolean | undefined>>;
  readonly args: readonly string[];
  readonly root: HostPath;
  readonly log: { readonly file: string | undefined; readonly json: boolean };
}

/** Throws `usage`. */
export function parseCall(argv: readonly string[]): RuntimeCall {
  const end = endOfGlobals(argv);
  const globals = parse(argv.slice(0, end), globalFlags).values;
  const [verb = "help", ...rest] = argv.slice(end);
  const chosen = globals["version"] === true ? "version" : globals["help"] === true ? "help" : verb;
  const { values, positionals } = parse(rest, { ...verbFlags[chosen], help: globalFlags.help });
  const root = globals["root"];
  const log = globals["log"];
  return {
    verb: values["help"] === true ? "help" : chosen,
    flags: values,
    args: positionals,
    root: hostPath(typeof root === "string" && root.startsWith("/") ? root : join("/run", "tripod-runtime")),
    log: {
      file: typeof log === "string" && log !== "" ? log : undefined,
      json: globals["log-format"] === "json",
    },
  };
}

/** Index of the verb. */
function endOfGlobals(argv: readonly string[]): number {
  let at = 0;
  for (let word = argv[at]; word?.startsWith("-") === true; word = argv[at]) {
    const name = word.replace(/^--?/, "");
    const flag = Object.entries(globalFlags).find(([known]) => known === name)?.[1];
    at += flag?.type === "string" ? 2 : 1;
  }
  return Math.min(at, argv.length);
}

/** Go's flags may have one dash, and a value that begins with one (`--pids-limit -1`). */
function asNodeHasThem(argv: readonly string[], options: Flags): string[] {
  const words: string[] = [];
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at] ?? "";
    const name = word.replace(/^--?/, "");
    const [, flag] =
      Object.entries(options).find(([known, { short }]) => name === known || name === short) ?? [];
    const next = argv[at + 1];
    if (word.startsWith("-") && flag?.type === "string" && next !== undefined) {
      words.push(name.length === 1 ? `-${name}${next}` : `--${name}=${next}`);
      at += 1;
    } else words.push(/^-[a-z][a-z-]/.test(word) ? `-${word}` : word);
  }
  return words;
}

function parse(
  argv: readonly string[],
  options: Flags,
): { values: Record<string, string | boolean | undefined>; positionals: readonly string[] } {
  try {
    const { values, positionals } = parseArgs({
      args: asNodeHasThem(argv, options),
      options,
      allowPositionals: true,
      strict: true,
    });
    return { values, positionals };
  } catch (error) {
    throw new TripodError("usage", error instanceof Error ? error.message : String(error), {
      hint: "tripod-runtime --help",
    });
  }
}
