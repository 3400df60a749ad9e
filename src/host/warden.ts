/** The warden's client: starts wardens and speaks the brain protocol (`spec/protocol.ts`) with them. */

import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { type Socket, connect } from "node:net";
import type { Duplex } from "node:stream";
import { TripodError, errnoOf } from "../spec/errors.ts";
import type { HostPath } from "../spec/paths.ts";
import type { Base64, Plan, Stdio } from "../spec/plan.ts";
import type { Exit, Launched, OnExit, Prepared, Request, StateFile, WardenError } from "../spec/protocol.ts";
import {
  decodeAnswer,
  decodeExit,
  decodeLaunched,
  decodePrepared,
  decodeStateFile,
} from "./warden-decode.ts";

/** No line of the protocol is longer, bytes: a call of containerd's of 4 MiB in base64, and what stands around it. */
const maxLineBytes = 6 << 20;

/** A step's failure as the error a person reads. */
function raise(error: WardenError, doing: string): TripodError {
  const where = error.step === undefined ? "" : ` (step ${(error.index ?? 0) + 1}, ${error.step})`;
  const text = `${doing}: ${error.message}${where}`;
  if (error.errno === "ENOSPC")
    return new TripodError("disk-full", text, { hint: "df -h; tripod rmi what is not needed" });
  if (error.errno === "EROFS")
    return new TripodError("state-unwritable", text, { hint: "choose another --root" });
  if (error.step === "network") {
    if (/address already in use|already allocated|port.*in use/i.test(error.message))
      return new TripodError("port-in-use", text);
    return new TripodError("network-failed", text, { hint: "tripod check" });
  }
  switch (error.code) {
    case "exec-failed":
      return error.errno === "ENOENT"
        ? new TripodError("program-not-found", text)
        : new TripodError("start-failed", text);
    case "not-allowed":
      return new TripodError("sandbox-busy", text);
    case "gone":
      return new TripodError("warden-gone", text);
    case "step-failed":
      // `decide` has seen the runtime work here: what it refuses now is what this image or this request gave it.
      return new TripodError(
        "step-failed",
        text,
        error.step === "hook"
          ? { hint: "look at what the hook says, and at the engine that asks for it" }
          : error.step === "oci"
            ? { hint: "look at the image and at what was asked for: the OCI runtime refused one of them" }
            : {},
      );
    default:
      return new TripodError("bug", text);
  }
}

/** One connection to one warden. Requests are answered in any order; the connection ends with the warden. */
export class WardenConnection {
  readonly #stream: Duplex;
  readonly #waiting = new Map<
    number,
    { resolve: (value: unknown) => void; reject: (error: Error) => void; doing: string }
  >();
  #next = 1;
  #tail = "";
  #closed: TripodError | undefined;
  readonly #exit = Promise.withResolvers<Exit>();
  readonly #gone = Promise.withResolvers<void>();
  readonly #take: (line: string) => boolean;
  readonly #onExecExit: (name: string, exit: Exit) => void;

  /** `take` is shown every line first, and says whether it was for it; `onExecExit` is told the ends of programs that were executed besides. */
  constructor(
    stream: Duplex,
    {
      take = () => false,
      onExecExit = () => {},
    }: {
      readonly take?: (line: string) => boolean;
      readonly onExecExit?: (name: string, exit: Exit) => void;
    } = {},
  ) {
    this.#stream = stream;
    this.#take = take;
    this.#onExecExit = onExecExit;
    this.#exit.promise.catch(() => {});
    stream.setEncoding("utf8");
    stream.on("data", (chunk: string) => this.#receive(chunk));
    stream.on("error", (error: Error) => this.#close(error.message));
    stream.on("close", () => this.#close("the connection ended"));
    stream.on("end", () => this.#close("the connection ended"));
    // Whoever read its first line has stopped it.
    stream.resume();
  }

  prepare(plan: Plan, onExit: OnExit): Promise<Prepared> {
    return this.#ask({ op: "prepare", plan, onExit }, "preparing the sandbox", decodePrepared);
  }
  launch(plan: Plan): Promise<Launched> {
    return this.#ask({ op: "launch", plan }, "launching the sandbox", decodeLaunched);
  }
  /** The plan is kept for `start`. */
  launchAtStart(plan: Plan): Promise<Launched> {
    return this.#ask({ op: "launch", plan, atStart: true }, "keeping the launch plan", decodeLaunched);
  }
  /** The network as it is now, while the launch plan is kept. */
  look(): Promise<Prepared> {
    return this.#ask({ op: "look" }, "looking at the network", decodePrepared);
  }
  /** What was prepared is undone, for another beginning. */
  undo(): Promise<unknown> {
    return this.#ask({ op: "undo" }, "undoing what was begun", (value) => value);
  }
  start(): Promise<Launched> {
    return this.#ask({ op: "start" }, "starting the sandbox", decodeLaunched);
  }
  /** `exec`: to a program that was executed besides, not to the workload. */
  signal(signal: number, exec?: string): Promise<unknown> {
    const request: Request = exec === undefined ? { op: "signal", signal } : { op: "signal", signal, exec };
    return this.#ask(request, `sending signal ${signal}`, (value) => value);
  }
  /** Another program in a container, its process as JSON of the runtime specification. */
  exec(name: string, process: Base64, stdio: Stdio): Promise<Launched> {
    return this.#ask({ op: "exec", name, process, stdio }, "executing a program", decodeLaunched);
  }
  /** A program that was executed besides and has ended is forgotten. */
  forget(name: string): Promise<unknown> {
    return this.#ask({ op: "forget", name }, "forgetting a program", (value) => value);
  }
  /** Default deadline: the plan's. */
  stop(timeoutMs?: number): Promise<Exit> {
    const request: Request = timeoutMs === undefined ? { op: "stop" } : { op: "stop", timeoutMs };
    return this.#ask(request, "stopping the sandbox", decodeExit);
  }
  /**
   * The workload's end, on the owner's connection: the warden tells it unasked, since one that ends at once is gone before a question could reach it.
   * Rejects with `warden-gone`.
   */
  exited(): Promise<Exit> {
    return this.#exit.promise;
  }
  /** Resolves when the connection is gone, also when it was gone before anybody asked. */
  closed(): Promise<void> {
    return this.#gone.promise;
  }
  /** The workload's end, on any other connection. */
  wait(): Promise<Exit> {
    return this.#ask({ op: "wait" }, "waiting for the sandbox", decodeExit);
  }
  state(): Promise<StateFile> {
    return this.#ask({ op: "state" }, "asking for the state", decodeStateFile);
  }
  resize(rows: number, cols: number, exec?: string): Promise<unknown> {
    const request: Request =
      exec === undefined ? { op: "resize", rows, cols } : { op: "resize", rows, cols, exec };
    return this.#ask(request, "resizing the terminal", (value) => value);
  }
  pause(): Promise<unknown> {
    return this.#ask({ op: "pause" }, "pausing the sandbox", (value) => value);
  }
  resume(): Promise<unknown> {
    return this.#ask({ op: "resume" }, "resuming the sandbox", (value) => value);
  }
  delete(force: boolean): Promise<unknown> {
    return this.#ask({ op: "delete", force }, "removing the sandbox", (value) => value);
  }

  /** Lets go of the connection; the sandbox goes on. */
  close(): void {
    this.#stream.destroy();
  }
  /** Lets Node end although the connection is open. */
  unref(): void {
    if ("unref" in this.#stream && typeof this.#stream.unref === "function") this.#stream.unref();
  }

  #ask<T>(request: Request, doing: string, decode: (value: unknown) => T): Promise<T> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    const id = this.#next++;
    return new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, doing });
      this.#stream.write(`${JSON.stringify({ ...request, id })}\n`);
    }).then(decode);
  }

  #receive(chunk: string): void {
    this.#tail += chunk;
    if (this.#tail.length > maxLineBytes) this.#stream.destroy(new Error("the warden sent an endless line"));
    for (let end = this.#tail.indexOf("\n"); end >= 0; end = this.#tail.indexOf("\n")) {
      const line = this.#tail.slice(0, end);
      this.#tail = this.#tail.slice(end + 1);
      this.#dispatch(line);
    }
  }

  #dispatch(line: string): void {
    if (this.#take(line)) return;
    const answer = decodeAnswer(line);
    if ("event" in answer) {
      const { event: _, exec, ...exit } = answer;
      if (exec === undefined) this.#exit.resolve(exit);
      else this.#onExecExit(exec, exit);
      return;
    }
    const waiting = this.#waiting.get(answer.id);
    if (waiting === undefined) return;
    this.#waiting.delete(answer.id);
    if ("error" in answer) waiting.reject(raise(answer.error, waiting.doing));
    else waiting.resolve(answer.ok);
  }

  #close(why: string): void {
    if (this.#closed !== undefined) return;
    this.#closed = new TripodError("warden-gone", `the warden of the sandbox is gone: ${why}`);
    for (const { reject, doing } of this.#waiting.values())
      reject(new TripodError("warden-gone", `${doing}: the warden is gone (${why})`));
    this.#waiting.clear();
    this.#exit.reject(this.#closed);
    this.#gone.resolve();
  }
}

/** The user's streams for a warden, or nothing at all. */
export type WardenStreams = "inherit" | "ignore";

/**
 * Starts a warden for the state directory and returns the owner's connection. The warden is in a session of its own and outlives us.
 * Throws `warden-gone` when the program cannot be started.
 */
export async function startWarden(
  program: HostPath,
  dir: HostPath,
  lib: HostPath,
  streams: { readonly stdin: WardenStreams; readonly output: WardenStreams },
): Promise<WardenConnection> {
  const child: ChildProcess = spawn(program, ["serve", "--dir", dir, "--lib", lib], {
    stdio: [streams.stdin, streams.output, streams.output, "pipe"],
    detached: true,
    cwd: "/",
    env: {},
  });
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (error) =>
      reject(new TripodError("warden-gone", `${program} could not be started: ${error.message}`)),
    );
  });
  child.unref();
  const stream = child.stdio[3];
  if (stream === undefined || stream === null || !("write" in stream) || !("on" in stream))
    throw new TripodError("bug", "the warden's connection was not made");
  return new WardenConnection(stream as Duplex);
}

/** A socket's address holds 107 bytes; a longer path is reached through an fd of its directory. */
async function socketAddress(dir: HostPath): Promise<{ path: string; done: () => Promise<void> }> {
  const path = `${dir}/control.sock`;
  if (Buffer.byteLength(path) <= 107) return { path, done: async () => {} };
  const handle = await open(dir, constants.O_RDONLY | constants.O_DIRECTORY);
  return { path: `/proc/self/fd/${handle.fd}/control.sock`, done: () => handle.close() };
}

/** Connects to the warden of a state directory; undefined when none lives. */
export async function connectWarden(dir: HostPath): Promise<WardenConnection | undefined> {
  const { path, done } = await socketAddress(dir);
  const socket: Socket = connect({ path });
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
  } catch (error) {
    const code = errnoOf(error);
    if (code === "ENOENT" || code === "ECONNREFUSED" || code === "ENOTDIR") return undefined;
    throw error;
  } finally {
    await done();
  }
  return new WardenConnection(socket);
}
