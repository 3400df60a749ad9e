/**
 * The sandboxes of one namespace on disk. A directory appears whole (made aside and renamed), so whoever sees one finds `sandbox.json` in
 * it. `state.json` belongs to the warden; whether a warden lives is told by its process, not by what the file says.
 */

import { randomBytes } from "node:crypto";
import { mkdir, readFile, readdir, rename, rm, unlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import * as v from "valibot";
import { processStartTicks } from "../host/processes.ts";
import { makeDirectories, stateError } from "../host/state-error.ts";
import { decodeStateFile } from "../host/warden-decode.ts";
import { TripodError, errnoOf } from "../spec/errors.ts";
import { type HostPath, hostPath } from "../spec/paths.ts";
import type { SandboxStatus, StateFile } from "../spec/protocol.ts";
import { type SandboxFile, modes, monitorKinds, ociRuntimeKinds } from "../spec/values.ts";
import { type Context, sandboxDir } from "./context.ts";

export interface SandboxView {
  readonly file: SandboxFile;
  readonly state: StateFile | undefined;
  /** `dead`: its warden is gone without having undone what it made; `rm -f` cleans up. */
  readonly status: SandboxStatus | "dead";
  readonly dir: HostPath;
}

const uint = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const digest = v.custom<`sha256:${string}`>(
  (value) => typeof value === "string" && /^sha256:[0-9a-f]{64}$/.test(value),
);
const sandboxSchema = v.object({
  version: v.literal(1),
  id: v.string(),
  namespace: v.string(),
  name: v.string(),
  image: v.object({ reference: v.string(), manifest: digest, index: v.exactOptional(digest) }),
  mode: v.picklist(modes),
  monitor: v.picklist([...monitorKinds, ...ociRuntimeKinds]),
  reason: v.string(),
  createdAt: v.string(),
  command: v.array(v.string()),
  ports: v.array(
    v.object({
      hostIp: v.exactOptional(v.string()),
      hostPort: uint,
      guestPort: uint,
      protocol: v.picklist(["tcp", "udp"]),
    }),
  ),
  network: v.string(),
  address: v.exactOptional(v.string()),
  limits: v.object({
    memoryBytes: v.exactOptional(uint),
    cpuQuotaUs: v.exactOptional(uint),
    cpuPeriodUs: v.exactOptional(uint),
    cpuShares: v.exactOptional(uint),
    cpusetCpus: v.exactOptional(v.string()),
    pids: v.exactOptional(uint),
  }),
  memoryBytes: uint,
  vcpus: uint,
  credentials: v.exactOptional(v.object({ uid: uint, gid: uint, groups: v.array(uint) })),
  labels: v.record(v.string(), v.string()),
  terminal: v.boolean(),
  removeOnExit: v.boolean(),
}) satisfies v.GenericSchema<unknown, SandboxFile>;

const namespaceDir = (context: Context): string => join(context.roots.run, context.namespace);
const nameFile = (context: Context, name: string): string => join(namespaceDir(context), "names", name);

/** What an id looks like; ids are ours alone, so this is narrower than the OCI rule. */
const idPattern = /^[0-9a-f]{32}$/;
/** Names as docker has them. */
const namePattern = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$/;

export const newId = (): string => randomBytes(16).toString("hex");

/** Checks a name given by a user. Throws `usage`. */
export function checkName(name: string): string {
  if (namePattern.test(name)) return name;
  throw new TripodError("usage", `not a sandbox name: ${JSON.stringify(name.slice(0, 80))}`, {
    hint: "a name is 1 to 63 letters, digits, '_', '.' or '-' and begins with a letter or digit",
  });
}

/**
 * Makes a sandbox's directory with its `sandbox.json` and reserves its name. Throws `name-in-use`, `state-unwritable`, `disk-full`; leaves
 * nothing behind then.
 */
export async function reserve(context: Context, file: SandboxFile): Promise<HostPath> {
  const dir = sandboxDir(context, file.id);
  const aside = join(namespaceDir(context), `.new-${process.pid}-${file.id}`);
  try {
    makeDirectories(join(namespaceDir(context), "names"));
    await mkdir(aside, { mode: 0o700 });
    await writeFile(join(aside, "sandbox.json"), JSON.stringify(file), { mode: 0o600 });
    await rename(aside, dir);
  } catch (error) {
    await rm(aside, { recursive: true, force: true });
    throw stateError(error, `the state directory ${dir} cannot be made`);
  }
  try {
    await reserveName(context, file);
  } catch (error) {
    await rm(dir, { recursive: true, force: true });
    throw error;
  }
  return dir;
}

async function reserveName(context: Context, file: SandboxFile): Promise<void> {
  const path = nameFile(context, file.name);
  for (let tries = 0; tries < 8; tries++) {
    try {
      await writeFile(path, file.id, { flag: "wx", mode: 0o600 });
      return;
    } catch (error) {
      if (errnoOf(error) !== "EEXIST")
        throw stateError(error, `the name ${file.name} cannot be reserved in ${dirname(path)}`);
    }
    const owner = await readIfThere(path);
    if (owner === undefined) continue;
    if (
      idPattern.test(owner) &&
      (await readIfThere(join(sandboxDir(context, owner), "sandbox.json"))) !== undefined
    )
      throw new TripodError(
        "name-in-use",
        `the name ${file.name} is taken by sandbox ${owner.slice(0, 12)}`,
        {
          hint: `tripod rm -f ${file.name}, or choose another --name`,
        },
      );
    // Its sandbox is gone: the name was left by a crash between the two removals.
    await unlink(path).catch(() => {});
  }
  throw new TripodError("name-in-use", `the name ${file.name} is fought over by other commands`);
}

/** Writes `sandbox.json` anew, whole. */
export async function updateSandboxFile(dir: HostPath, file: SandboxFile): Promise<void> {
  const next = join(dir, ".sandbox.json.new");
  try {
    await writeFile(next, JSON.stringify(file), { mode: 0o600 });
    await rename(next, join(dir, "sandbox.json"));
  } catch (error) {
    throw stateError(error, `${dir}/sandbox.json cannot be written`);
  }
}

/** Lets go of a name, if it is still this sandbox's. */
export async function releaseName(
  context: Context,
  file: { readonly id: string; readonly name: string },
): Promise<void> {
  const path = nameFile(context, file.name);
  if ((await readIfThere(path)) === file.id) await unlink(path).catch(() => {});
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const code = errnoOf(error);
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw stateError(error, `${path} cannot be read`);
  }
}

function parseSandboxFile(text: string, path: string): SandboxFile {
  try {
    return v.parse(sandboxSchema, JSON.parse(text));
  } catch (cause) {
    throw new TripodError("bug", `${path} is damaged`, { cause, hint: "tripod rm -f removes the sandbox" });
  }
}

/** Looks at one sandbox; undefined when it is not there (any more). */
export const viewSandbox = (context: Context, id: string): Promise<SandboxView | undefined> =>
  viewSandboxIn(sandboxDir(context, id));

/** As `viewSandbox`, by its state directory. */
export async function viewSandboxIn(dir: HostPath): Promise<SandboxView | undefined> {
  const text = await readIfThere(join(dir, "sandbox.json"));
  if (text === undefined) return undefined;
  const file = parseSandboxFile(text, join(dir, "sandbox.json"));
  const stateText = await readIfThere(join(dir, "state.json"));
  const state = stateText === undefined ? undefined : decodeStateFile(JSON.parse(stateText));
  return { file, state, status: await statusOf(file, state), dir };
}

/** A warden writes its first state within milliseconds of the reservation; where none has come by then, its command was killed in between. */
const firstStateMs = 30_000;

async function statusOf(file: SandboxFile, state: StateFile | undefined): Promise<SandboxStatus | "dead"> {
  if (state === undefined)
    return Date.now() - Date.parse(file.createdAt) > firstStateMs ? "dead" : "creating";
  if (state.status === "stopped") return "stopped";
  return (await processStartTicks(state.warden.pid)) === state.warden.startTicks ? state.status : "dead";
}

/** All sandboxes of the namespace, oldest first. */
export async function listSandboxes(context: Context): Promise<SandboxView[]> {
  let entries: string[];
  try {
    entries = await readdir(namespaceDir(context));
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw stateError(error, `${namespaceDir(context)} cannot be read`);
  }
  const views = await Promise.all(
    entries.filter((entry) => idPattern.test(entry)).map((id) => viewSandbox(context, id)),
  );
  return views
    .filter((view) => view !== undefined)
    .toSorted((a, b) => (a.file.createdAt < b.file.createdAt ? -1 : 1));
}

/** Finds a sandbox by name, id or an id's unambiguous beginning. Throws `sandbox-not-found`. */
export async function findSandbox(context: Context, nameOrId: string): Promise<SandboxView> {
  if (namePattern.test(nameOrId)) {
    const id = await readIfThere(nameFile(context, nameOrId));
    const view = id !== undefined && idPattern.test(id) ? await viewSandbox(context, id) : undefined;
    if (view !== undefined) return view;
  }
  if (/^[0-9a-f]{1,32}$/.test(nameOrId)) {
    const matches = (await listSandboxes(context)).filter((view) => view.file.id.startsWith(nameOrId));
    if (matches.length > 1)
      throw new TripodError(
        "sandbox-not-found",
        `${nameOrId} is the beginning of ${matches.length} sandbox ids`,
        {
          hint: "give more of the id, or the name",
        },
      );
    if (matches[0] !== undefined) return matches[0];
  }
  throw new TripodError(
    "sandbox-not-found",
    `no sandbox is called ${JSON.stringify(nameOrId.slice(0, 80))}`,
    { hint: "tripod ps -a" },
  );
}

/** Removes what commands that were killed in the middle of `reserve` left aside. */
export async function sweepHalfMade(context: Context): Promise<void> {
  for (const entry of await readdir(namespaceDir(context)).catch(() => [] as string[])) {
    const pid = /^\.new-(\d+)-[0-9a-f]{32}$/.exec(entry)?.[1];
    if (pid !== undefined && (await processStartTicks(Number(pid))) === undefined)
      await rm(hostPath(join(namespaceDir(context), entry)), { recursive: true, force: true });
  }
}
