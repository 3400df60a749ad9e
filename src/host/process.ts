/** Runs other people's programs: never a shell, an explicit environment, a deadline, bounded output, nothing left running. */

import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { constants as osConstants } from "node:os";
import { statIfSeen } from "./stat-if-seen.ts";
import { TripodError } from "../spec/errors.ts";
import { type HostPath, hostPath } from "../spec/paths.ts";

/** Where programs are looked for besides the caller's own PATH: root's login shell often lacks the sbin directories. */
const standardDirs = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"] as const;

/** The environment of a program that needs none of ours: a PATH for its own helpers, and messages in English. */
export const plainEnvironment: Readonly<Record<string, string>> = {
  PATH: standardDirs.join(":"),
  LC_ALL: "C.UTF-8",
};

const defaultMaxOutputBytes = 1 << 20;

export interface ProgramOptions {
  /** The whole environment; nothing of ours is inherited. Default: `plainEnvironment`. */
  readonly env?: Readonly<Record<string, string>>;
  /** Milliseconds until the program and all its group are killed. */
  readonly deadlineMs: number;
  /** Written to standard input, which is empty otherwise. */
  readonly input?: string | Uint8Array;
  /** Bytes that each of stdout and stderr may have. Default 1 MiB. */
  readonly maxOutputBytes?: number;
  /** Kills the program and rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  readonly cwd?: string;
}

export interface ProgramResult {
  /** Exit status, or 128 + the signal that ended it, as a shell tells it. */
  readonly code: number;
  readonly signal: NodeJS.Signals | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs `file` with `argv` (without argv[0]) in a process group of its own and waits until it has ended and closed its output. An exit
 * status other than 0 is a result, not an error. Throws `timeout` when the deadline passes, `program-failed` when it cannot be started or
 * says more than `maxOutputBytes`; the whole group is killed then.
 */
export function runProgram(
  file: string,
  argv: readonly string[],
  options: ProgramOptions,
): Promise<ProgramResult> {
  const { promise, resolve, reject } = Promise.withResolvers<ProgramResult>();
  const { signal } = options;
  if (signal?.aborted) return Promise.reject(abortReason(signal));
  const child = spawn(file, argv, {
    env: { ...(options.env ?? plainEnvironment) },
    cwd: options.cwd,
    // Its own session: a deadline ends its children too, and a Ctrl-C at our terminal is ours to pass on.
    detached: true,
    stdio: ["pipe", "pipe", "pipe"],
  });
  const stdout = collect(options.maxOutputBytes ?? defaultMaxOutputBytes);
  const stderr = collect(options.maxOutputBytes ?? defaultMaxOutputBytes);
  let failure: Error | undefined;

  const fail = (error: Error): void => {
    failure ??= error;
    killGroup(child.pid);
    // A grandchild that left the group could hold the pipes open for ever.
    child.stdout.destroy();
    child.stderr.destroy();
  };
  const timer = setTimeout(() => {
    const said = stderr.text().trim().slice(-300);
    const tail = said === "" ? "" : `; it said: ${said}`;
    fail(new TripodError("timeout", `${file} did not end within ${options.deadlineMs} ms${tail}`));
  }, options.deadlineMs);
  const abort = (): void => fail(signal === undefined ? new Error("aborted") : abortReason(signal));
  signal?.addEventListener("abort", abort, { once: true });
  const settle = (): void => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  };

  for (const [stream, sink, name] of [
    [child.stdout, stdout, "stdout"],
    [child.stderr, stderr, "stderr"],
  ] as const) {
    stream.on("data", (chunk: Buffer) => {
      if (!sink.add(chunk))
        fail(new TripodError("program-failed", `${file} wrote more than ${sink.maxBytes} bytes to ${name}`));
    });
    // Destroyed by `fail`; the outcome is told by `close`.
    stream.on("error", () => {});
  }
  // A program that ends without reading its input is judged by its status, not by our EPIPE.
  child.stdin.on("error", () => {});
  child.stdin.end(options.input);

  child.once("error", (cause) => {
    settle();
    reject(new TripodError("program-failed", `${file} could not be started: ${cause.message}`, { cause }));
  });
  child.once("close", (code, signalName) => {
    settle();
    // What it may have left in its group ends with it.
    killGroup(child.pid);
    if (failure !== undefined) reject(failure);
    else
      resolve({
        code: code ?? 128 + (signalName === null ? 0 : osConstants.signals[signalName]),
        signal: signalName ?? undefined,
        stdout: stdout.text(),
        stderr: stderr.text(),
      });
  });
  return promise;
}

const abortReason = (signal: AbortSignal): Error =>
  signal.reason instanceof Error ? signal.reason : new Error(String(signal.reason));

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // The group is empty.
  }
}

function collect(maxBytes: number) {
  const chunks: Buffer[] = [];
  let bytes = 0;
  return {
    maxBytes,
    /** False when the limit is passed; what came before it is kept. */
    add(chunk: Buffer): boolean {
      if (bytes + chunk.length > maxBytes) return false;
      bytes += chunk.length;
      chunks.push(chunk);
      return true;
    },
    text: (): string => Buffer.concat(chunks).toString("utf8"),
  };
}

/** The directories to look for programs in: the absolute ones of `path` (a PATH variable), then the standard ones, each once. */
export function searchDirs(path: string | undefined): readonly string[] {
  const own = (path ?? "")
    .split(":")
    .filter((dir) => dir.startsWith("/"))
    .map((dir) => dir.replace(/(?<=.)\/+$/, ""));
  return [...new Set([...own, ...standardDirs])];
}

/** The first executable regular file called `name` in `dirs`; a name with a slash is looked at as it is, if absolute. */
export function which(name: string, dirs: readonly string[]): HostPath | undefined {
  if (name.includes("/")) return name.startsWith("/") && isProgram(name) ? hostPath(name) : undefined;
  for (const dir of dirs) {
    // Not `join`: normalising what needs none costs more than looking, and every start looks a hundred times.
    const path = `${dir}/${name}`;
    if (isProgram(path)) return hostPath(path);
  }
  return undefined;
}

function isProgram(path: string): boolean {
  const stat = statIfSeen(path);
  if (stat === undefined || !stat.isFile()) return false;
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
