/** The flags of each command, and the options that its handler gets. Apart from `commands.ts` so that handlers can name their options' type. */

import { type Mode, monitorKinds } from "../spec/values.ts";
import type { FlagRecord, OptionsOf } from "./command.ts";

/** The modes that exist; microvm joins them with its first driver. */
const runnableModes = ["auto", "container", "unikernel"] as const satisfies readonly ("auto" | Mode)[];

const output = {
  name: "output",
  short: "o",
  value: "FORMAT",
  choices: ["table", "json", "yaml"],
  fallback: "table",
  help: "how to print the answer",
} as const satisfies FlagRecord;

const quiet = (help: string) => ({ name: "quiet", short: "q", help }) as const satisfies FlagRecord;

const plainHttp = {
  name: "plain-http",
  help: "speak HTTP without TLS to the registry (the default for loopback addresses only)",
} as const satisfies FlagRecord;

const noTrunc = {
  name: "no-trunc",
  help: "print ids, digests and commands whole",
} as const satisfies FlagRecord;

export const globalFlags = [
  {
    name: "root",
    value: "DIR",
    help: "keep all state in DIR/run and DIR/lib (TRIPOD_ROOT); default /run/tripod and /var/lib/tripod",
  },
  {
    name: "config",
    value: "FILE",
    help: "read FILE (TRIPOD_CONFIG); default /etc/tripod/config.toml, if it is there",
  },
  { name: "debug", help: "after an error print where it arose" },
] as const satisfies readonly FlagRecord[];

export const runFlags = [
  {
    name: "mode",
    value: "MODE",
    choices: runnableModes,
    fallback: "auto",
    help: "how to run: never another than asked for; auto takes the strongest isolation that runs at full speed here",
  },
  { name: "monitor", value: "NAME", choices: monitorKinds, help: "the program that holds a guest" },
  { name: "detach", short: "d", help: "run in the background and print the id" },
  { name: "name", value: "NAME", help: "a name; default: one made up" },
  {
    name: "publish",
    short: "p",
    value: "[IP:]HOST:GUEST[/PROTOCOL]",
    many: true,
    help: "forward a port of the host (tcp or udp)",
  },
  {
    name: "env",
    short: "e",
    value: "NAME[=VALUE]",
    many: true,
    help: "an environment variable; without =VALUE ours is taken",
  },
  { name: "memory", short: "m", value: "SIZE", help: "guest memory, or the container's limit, e.g. 64m, 1g" },
  { name: "cpus", value: "N", help: "processors, fractions allowed" },
  { name: "rm", help: "remove the sandbox when it ends" },
  { name: "entrypoint", value: "PROGRAM", help: "the program instead of the image's" },
  {
    name: "volume",
    short: "v",
    value: "SOURCE:TARGET[:ro]",
    many: true,
    help: "bind a file or directory of the host into a container",
  },
  {
    name: "network",
    value: "NAME",
    help: "none, bridge, or a network of <lib>/networks; default: the configuration's, else bridge",
  },
  { name: "tty", short: "t", help: "give the program a terminal" },
  { name: "interactive", short: "i", help: "keep standard input open" },
  { name: "hostname", value: "NAME", help: "the host name inside; default: the id's first 12 digits" },
  { name: "user", short: "u", value: "USER[:GROUP]", help: "the container's user instead of the image's" },
  {
    name: "workdir",
    short: "w",
    value: "DIR",
    help: "the container's working directory instead of the image's",
  },
  { name: "label", short: "l", value: "KEY=VALUE", many: true, help: "a label of the sandbox" },
  {
    name: "pull",
    value: "WHEN",
    choices: ["missing", "always", "never"],
    fallback: "missing",
    help: "when to ask the registry",
  },
  plainHttp,
  { name: "dry-run", help: "print the decision, the plan and the monitor's argv, and run nothing" },
  { name: "timings", help: "print the stages of the start, in milliseconds, to stderr" },
  { ...output, help: "how to print a --dry-run" },
] as const satisfies readonly FlagRecord[];

export const psFlags = [
  { name: "all", short: "a", help: "also those that have stopped" },
  quiet("print ids only"),
  noTrunc,
  output,
] as const satisfies readonly FlagRecord[];

export const logsFlags = [
  { name: "follow", short: "f", help: "go on until the sandbox ends" },
  { name: "tail", short: "n", value: "N", fallback: "all", help: "only the last N lines" },
  { name: "timestamps", short: "t", help: "put the time before each line" },
  {
    name: "since",
    value: "TIME",
    help: "only lines from then on: an RFC 3339 time, or how long ago, e.g. 10m",
  },
] as const satisfies readonly FlagRecord[];

export const inspectFlags = [
  {
    name: "type",
    value: "TYPE",
    choices: ["sandbox", "image"],
    help: "look only there; default: a sandbox, then an image",
  },
  { ...output, fallback: "json", choices: ["json", "yaml"], help: "how to print the answer" },
] as const satisfies readonly FlagRecord[];

export const stopFlags = [
  {
    name: "time",
    short: "t",
    value: "SECONDS",
    help: "how long it may take before it is killed; default: the monitor's own",
  },
] as const satisfies readonly FlagRecord[];

export const killFlags = [
  { name: "signal", short: "s", value: "SIGNAL", fallback: "KILL", help: "a name or number" },
] as const satisfies readonly FlagRecord[];

export const rmFlags = [
  {
    name: "force",
    short: "f",
    help: "kill what runs, and clean up after what crashed; what is not there is no error",
  },
] as const satisfies readonly FlagRecord[];

export const waitFlags = [] as const satisfies readonly FlagRecord[];

export const execFlags = [
  { name: "interactive", short: "i", help: "keep standard input open" },
  { name: "tty", short: "t", help: "give the program a terminal" },
  { name: "env", short: "e", value: "NAME[=VALUE]", many: true, help: "an environment variable" },
  { name: "user", short: "u", value: "USER[:GROUP]", help: "numeric ids" },
  { name: "workdir", short: "w", value: "DIR", help: "the working directory" },
] as const satisfies readonly FlagRecord[];

export const pauseFlags = [] as const satisfies readonly FlagRecord[];

export const topFlags = [] as const satisfies readonly FlagRecord[];

export const eventsFlags = [
  { name: "stats", help: "print the figures of now and end" },
] as const satisfies readonly FlagRecord[];

export const updateFlags = [
  { name: "memory", short: "m", value: "SIZE", help: "memory, e.g. 64m, 1g" },
  { name: "cpus", value: "N", help: "processors, fractions allowed" },
  { name: "pids", value: "N", help: "processes and threads" },
] as const satisfies readonly FlagRecord[];

export const statsFlags = [
  { name: "no-stream", help: "print once" },
  output,
] as const satisfies readonly FlagRecord[];

export const imagesFlags = [
  quiet("print digests only"),
  noTrunc,
  output,
] as const satisfies readonly FlagRecord[];

export const pullFlags = [
  plainHttp,
  {
    name: "all-platforms",
    help: "fetch every way the image can run, not only those this machine might choose",
  },
  quiet("print the digest only"),
] as const satisfies readonly FlagRecord[];

export const loadFlags = [
  {
    name: "input",
    short: "i",
    value: "FILE",
    help: "a docker or OCI archive, or an OCI layout directory; default: standard input",
  },
  {
    name: "name",
    value: "REFERENCE",
    help: "the name to give; needed where the archive has none, and only for a single image",
  },
  quiet("print references only"),
] as const satisfies readonly FlagRecord[];

export const saveFlags = [
  {
    name: "output",
    short: "o",
    value: "FILE",
    help: "where to write it; default: standard output, if that is no terminal",
  },
] as const satisfies readonly FlagRecord[];

export const rmiFlags = [
  { name: "force", short: "f", help: "all names of a digest; what is not there is no error" },
] as const satisfies readonly FlagRecord[];

export const explainFlags = [
  { name: "mode", value: "MODE", choices: runnableModes, fallback: "auto", help: "as for run" },
  { name: "monitor", value: "NAME", choices: monitorKinds, help: "as for run" },
  { name: "memory", short: "m", value: "SIZE", help: "as for run" },
  { name: "cpus", value: "N", help: "as for run" },
  {
    name: "pull",
    value: "WHEN",
    choices: ["missing", "always", "never"],
    fallback: "missing",
    help: "when to ask the registry",
  },
  plainHttp,
  output,
] as const satisfies readonly FlagRecord[];

export const checkFlags = [
  { name: "cached", help: "show what was seen last instead of probing anew" },
  output,
] as const satisfies readonly FlagRecord[];

export const versionFlags = [output] as const satisfies readonly FlagRecord[];

export const completionFlags = [] as const satisfies readonly FlagRecord[];

export type RunOptions = OptionsOf<typeof runFlags>;
export type PsOptions = OptionsOf<typeof psFlags>;
export type LogsOptions = OptionsOf<typeof logsFlags>;
export type InspectOptions = OptionsOf<typeof inspectFlags>;
export type StopOptions = OptionsOf<typeof stopFlags>;
export type KillOptions = OptionsOf<typeof killFlags>;
export type RmOptions = OptionsOf<typeof rmFlags>;
export type WaitOptions = OptionsOf<typeof waitFlags>;
export type ExecOptions = OptionsOf<typeof execFlags>;
export type EventsOptions = OptionsOf<typeof eventsFlags>;
export type UpdateOptions = OptionsOf<typeof updateFlags>;
export type StatsOptions = OptionsOf<typeof statsFlags>;
export type ImagesOptions = OptionsOf<typeof imagesFlags>;
export type PullOptions = OptionsOf<typeof pullFlags>;
export type LoadOptions = OptionsOf<typeof loadFlags>;
export type SaveOptions = OptionsOf<typeof saveFlags>;
export type RmiOptions = OptionsOf<typeof rmiFlags>;
export type ExplainOptions = OptionsOf<typeof explainFlags>;
export type CheckOptions = OptionsOf<typeof checkFlags>;
export type VersionOptions = OptionsOf<typeof versionFlags>;
export type CompletionOptions = OptionsOf<typeof completionFlags>;
