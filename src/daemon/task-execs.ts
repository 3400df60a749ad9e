/** Programs that were executed in a task besides its own: what containerd said of each, kept on disk until it is forgotten, and what became of it. */

import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { TripodError, errnoOf } from "../spec/errors.ts";
import type { HostPath } from "../spec/paths.ts";
import type { Exit, StateFile } from "../spec/protocol.ts";

const schema = v.object({
  terminal: v.boolean(),
  stdin: v.string(),
  stdout: v.string(),
  stderr: v.string(),
  /** The process, JSON of the runtime specification. */
  process: v.string(),
});
export type ExecRequest = Readonly<v.InferOutput<typeof schema>>;

export interface Exec {
  readonly request: ExecRequest;
  /** Absent: it was not started. */
  pid?: number;
  /** Its start is under way, or was told. */
  begun: Promise<unknown>;
  starting?: Promise<number> | undefined;
  exit?: Exit;
  readonly ended: PromiseWithResolvers<Exit>;
}

/** containerd's identifiers, which become names of files. */
const identifier = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;

export class Execs {
  readonly #dir: string;
  readonly #all = new Map<string, Exec>();

  /** As a daemon before left them, and as the warden tells of those that run. */
  constructor(stateDir: HostPath, { execs = [] }: Pick<StateFile, "execs">) {
    this.#dir = join(stateDir, "execs");
    for (const name of this.#names()) this.#all.set(name, newExec(this.#read(name)));
    for (const { name, pid, exit } of execs) {
      const exec = this.#all.get(name);
      if (exec === undefined) continue;
      exec.pid = pid;
      if (exit !== undefined) settle(exec, exit);
    }
  }

  get(name: string): Exec | undefined {
    return this.#all.get(name);
  }

  list(): readonly (readonly [name: string, exec: Exec])[] {
    return [...this.#all];
  }

  /** Throws `usage` for a name that no file can have. */
  add(name: string, request: ExecRequest): Exec {
    if (!identifier.test(name))
      throw new TripodError("usage", `${JSON.stringify(name)} is no identifier of a process`);
    mkdirSync(this.#dir, { recursive: true, mode: 0o700 });
    // Secrets may be in its environment.
    writeFileSync(join(this.#dir, name), JSON.stringify(request), { mode: 0o600 });
    const exec = newExec(request);
    this.#all.set(name, exec);
    return exec;
  }

  forget(name: string): void {
    this.#all.delete(name);
    rmSync(join(this.#dir, name), { force: true });
  }

  #names(): readonly string[] {
    try {
      return readdirSync(this.#dir);
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return [];
      throw error;
    }
  }

  #read(name: string): ExecRequest {
    return v.parse(schema, JSON.parse(readFileSync(join(this.#dir, name), "utf8")));
  }
}

const newExec = (request: ExecRequest): Exec => {
  const ended = Promise.withResolvers<Exit>();
  ended.promise.catch(() => {});
  return { request, begun: Promise.resolve(), ended };
};

export function settle(exec: Exec, exit: Exit): void {
  exec.exit = exit;
  exec.ended.resolve(exit);
}
