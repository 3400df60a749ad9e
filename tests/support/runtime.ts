/** Drives the OCI command line `tripod-runtime` as an engine does, with bundles made here, in a root of the test's own. */

import { spawn } from "node:child_process";
import {
  closeSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { type Outcome, tree } from "./tripod.ts";

export const runtimeProgram = join(tree, "bin/tripod-runtime");
export const httpreply = join(tree, "build/httpreply/httpreply");
export const httpreplySpt = `${httpreply}.spt`;

/** `/urunc.json` of an image that holds our example as a unikernel. */
export const uruncJson = {
  "dev.tripod.mode": "unikernel",
  "dev.tripod.guest": "solo5",
  "dev.tripod.monitors": "spt",
  "dev.tripod.kernel": "/kernel",
  "dev.tripod.boot-line": "ip={ipv4} gateway={gateway4} monitor={monitor} {args}",
  "dev.tripod.net-devices": "service0",
};

export interface BundleParts {
  readonly args?: readonly string[];
  readonly config?: Readonly<Record<string, unknown>>;
  readonly linux?: Readonly<Record<string, unknown>>;
}

export interface RuntimeLab {
  /** Holds everything of the test's. */
  readonly dir: string;
  readonly root: string;
  /** A container with our example as its program, and busybox. */
  container(name: string, parts?: BundleParts): string;
  /** A unikernel with our example as its kernel and no network. */
  unikernel(name: string, parts?: BundleParts): string;
  /** One call of ours; `--log` is JSON and its lines are `logged`. */
  run(argv: readonly string[]): Promise<Logged>;
  ok(argv: readonly string[]): Promise<string>;
  /** The same call to runc, in a root of its own. */
  runc(argv: readonly string[]): Promise<Logged>;
  /** What the sandbox that this call made has written. */
  output(id: string): string;
}

export interface Logged extends Outcome {
  readonly logged: readonly { readonly level: string; readonly msg: string }[];
}

const namespaces = ["pid", "network", "ipc", "uts", "mount"].map((type) => ({ type }));

function writeBundle(dir: string, fill: (rootfs: string) => void, parts: BundleParts): string {
  const rootfs = join(dir, "rootfs");
  for (const name of ["bin", "proc", "dev"]) mkdirSync(join(rootfs, name), { recursive: true });
  fill(rootfs);
  writeFileSync(
    join(dir, "config.json"),
    JSON.stringify({
      ociVersion: "1.0.2",
      process: {
        terminal: false,
        user: { uid: 0, gid: 0 },
        args: parts.args ?? [],
        env: ["PATH=/bin:/"],
        cwd: "/",
      },
      root: { path: "rootfs" },
      mounts: [
        { destination: "/proc", type: "proc", source: "proc" },
        { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["mode=755", "size=64k"] },
      ],
      ...parts.config,
      linux: {
        namespaces,
        cgroupsPath: `/tripod-test/${dir.split("/").slice(-2).join("-")}`,
        ...parts.linux,
      },
    }),
  );
  return dir;
}

export function makeRuntimeLab(t: TestContext): RuntimeLab {
  const dir = mkdtempSync(join(tmpdir(), "tripod-oci-"));
  const root = join(dir, "run");
  let calls = 0;
  const files = new Map<string, string>();
  const call = async (
    program: string,
    before: readonly string[],
    argv: readonly string[],
  ): Promise<Logged> => {
    const base = join(dir, `call-${(calls += 1)}`);
    const log = `${base}.log`;
    if (argv[0] === "create") files.set(argv.at(-1) ?? "", `${base}.out`);
    const outcome = await runByFiles(
      program,
      [...before, "--log", log, "--log-format", "json", ...argv],
      base,
    );
    return { ...outcome, logged: readLog(log) };
  };
  const lab: RuntimeLab = {
    dir,
    root,
    container: (name, parts = {}) =>
      writeBundle(
        join(dir, name),
        (rootfs) => {
          cpSync(httpreply, join(rootfs, "httpreply"));
          cpSync("/bin/busybox", join(rootfs, "bin/busybox"));
        },
        { args: ["/httpreply"], ...parts },
      ),
    unikernel: (name, parts = {}) =>
      writeBundle(
        join(dir, name),
        (rootfs) => {
          cpSync(httpreplySpt, join(rootfs, "kernel"));
          writeFileSync(join(rootfs, "urunc.json"), JSON.stringify(uruncJson));
        },
        parts,
      ),
    run: (argv) => call(runtimeProgram, [`--tripod-root=${join(dir, "tripod")}`, "--root", root], argv),
    async ok(argv) {
      const outcome = await lab.run(argv);
      if (outcome.code !== 0)
        throw new Error(`tripod-runtime ${argv.join(" ")} ended with ${outcome.code}:\n${outcome.stderr}`);
      return outcome.stdout;
    },
    runc: (argv) => call("runc", ["--root", join(dir, "runc")], argv),
    output: (id) => readFileSync(files.get(id) ?? "", "utf8"),
  };
  t.after(async () => {
    for (const id of idsIn(root)) await lab.run(["delete", "--force", id]);
    for (const id of idsIn(join(dir, "runc"))) await lab.runc(["delete", "--force", id]);
    rmSync(dir, { recursive: true, force: true });
  });
  return lab;
}

/** A sandbox keeps the streams of the call that made it: pipes would never end. */
async function runByFiles(file: string, argv: readonly string[], base: string): Promise<Outcome> {
  const [out, err] = [`${base}.out`, `${base}.err`].map((path) => openSync(path, "w"));
  const child = spawn(file, argv, { stdio: ["ignore", out, err], timeout: 60_000, killSignal: "SIGKILL" });
  for (const fd of [out, err]) if (fd !== undefined) closeSync(fd);
  const { promise, resolve, reject } = Promise.withResolvers<Outcome>();
  child.once("error", reject).once("exit", (code, signal) =>
    resolve({
      code,
      signal,
      stdout: readFileSync(`${base}.out`, "utf8"),
      stderr: readFileSync(`${base}.err`, "utf8"),
    }),
  );
  return await promise;
}

function idsIn(root: string): string[] {
  try {
    return readdirSync(root).filter((name) => !name.startsWith("."));
  } catch {
    return [];
  }
}

function readLog(file: string): Logged["logged"] {
  try {
    return readFileSync(file, "utf8")
      .split("\n")
      .filter((line) => line !== "")
      .map((line): Logged["logged"][number] => JSON.parse(line));
  } catch {
    return [];
  }
}
