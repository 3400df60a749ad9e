/**
 * One task of containerd's, behind one connection of its warden: the Task service, version 2 and 3 alike (containerd's runtime/v2 documents). The daemon
 * holds nothing that the warden and the state directory do not: a daemon that comes anew is told the state and the calls that wait, and goes on. Every call
 * may therefore come twice, and does what is left to do.
 */

import type { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { WardenConnection } from "../host/warden.ts";
import { decodeStateFile } from "../host/warden-decode.ts";
import type { Context } from "../lifecycle/context.ts";
import { engineHint } from "../lifecycle/engine/create.ts";
import { type TaskCall, type TaskHello, type TaskReply, decodeTaskCall } from "../spec/brain.ts";
import { TripodError } from "../spec/errors.ts";
import type { Exit, StateFile } from "../spec/protocol.ts";
import { type MessageInput, type MessageOf, decodeMessage, encodeMessage } from "../wire/protobuf.ts";
import { type TaskMethod, taskMethods, taskServices, taskStatus } from "../wire/task.ts";
import { type Answer, type StatusName, request, response, statusAnswer } from "../wire/ttrpc.ts";
import { processDetails } from "../wire/runtime-options.ts";
import { jsonTypes, packAny, timestampOf, unpackJson } from "../wire/well-known.ts";
import { Publisher } from "./publisher.ts";
import { type Exec, Execs, settle } from "./task-execs.ts";
import { createTask, stdioOf } from "./task-plan.ts";
import { cgroupsOf, metricsOf } from "./task-stats.ts";
import { updateTask } from "./task-update.ts";
import { type TaskRecord, readTaskRecord, writeTaskRecord } from "./task-record.ts";

/** How long who waits for an end waits for its event. */
const eventPatienceMs = 3000;

/** Serves the calls of one warden until its connection ends. */
export async function attendTask(stream: Duplex, hello: TaskHello, context: Context): Promise<void> {
  const task = new Task(stream, hello, context);
  await task.ended();
}

type RequestOf<M extends TaskMethod> = MessageOf<(typeof taskMethods)[M]["request"]>;
type ResponseOf<M extends TaskMethod> = MessageInput<(typeof taskMethods)[M]["response"]>;
type Handlers = { readonly [M in TaskMethod]: (asked: RequestOf<M>) => Promise<ResponseOf<M>> };

/** A refusal with the code that containerd tells its errors by. */
class Refusal extends Error {
  readonly status: Exclude<StatusName, "ok">;
  constructor(status: Exclude<StatusName, "ok">, message: string) {
    super(message);
    this.status = status;
  }
}

const notHere = (what: string): Refusal => new Refusal("unimplemented", what);

class Task {
  readonly #stream: Duplex;
  readonly #hello: TaskHello;
  readonly #context: Context;
  readonly #warden: WardenConnection;
  readonly #publisher: Publisher;
  readonly #execs: Execs;
  #state: StateFile;
  #record: TaskRecord | undefined;
  /** The end, once it is known. */
  #exit: Exit | undefined;
  readonly #ended = Promise.withResolvers<Exit>();
  /** The start is under way, or was told. */
  #begun: Promise<unknown> = Promise.resolve();
  #starting: Promise<number> | undefined;
  #deleted = false;

  constructor(stream: Duplex, hello: TaskHello, context: Context) {
    this.#stream = stream;
    this.#hello = hello;
    this.#context = context;
    this.#state = decodeStateFile(hello.state);
    this.#publisher = new Publisher(hello.publish, hello.namespace);
    this.#record = readTaskRecord(hello.stateDir);
    this.#ended.promise.catch(() => {});
    this.#execs = new Execs(hello.stateDir, this.#state);
    this.#warden = new WardenConnection(stream, {
      take: (line) => this.#take(line),
      onExecExit: (name, exit) => void this.#onExecExit(name, exit),
    });
    // It ended while no daemon was there, or one that did not come to tell it.
    if (this.#state.exit !== undefined) this.#onExit(this.#state.exit);
    this.#warden.exited().then(
      (exit) => this.#onExit(exit),
      (error: Error) => this.#ended.reject(error),
    );
  }

  ended(): Promise<void> {
    return this.#warden.closed();
  }

  #onExit(exit: Exit): void {
    if (this.#exit !== undefined) return;
    this.#exit = exit;
    // A task may end before its start was answered; a containerd that hears no events is not waited for.
    const told = this.#begun.catch(() => {}).then(() => this.#told(exit));
    void Promise.race([told, sleep(eventPatienceMs, undefined, { ref: false })]).then(() =>
      this.#ended.resolve(exit),
    );
  }

  async #onExecExit(name: string, exit: Exit): Promise<void> {
    const exec = this.#execs.get(name);
    if (exec === undefined || exec.exit !== undefined) return;
    const { id } = this.#hello;
    // A program may end before its start was answered.
    await exec.begun.catch(() => {});
    const pid = exec.pid ?? 0;
    await this.#publisher.publish("/tasks/exit", { containerId: id, id: name, pid, ...endOf(exit) });
    settle(exec, exit);
  }

  /** Told before anybody is answered: containerd wants the event of an end before its answer. */
  async #told(exit: Exit): Promise<void> {
    const { id } = this.#hello;
    if (this.#record === undefined || this.#record.told.exit) return;
    if (exit.oomKilled) await this.#publisher.publish("/tasks/oom", { containerId: id });
    await this.#publisher.publish("/tasks/exit", { containerId: id, id, pid: this.#pid, ...endOf(exit) });
    this.#note({ exit: true });
  }

  /** Keeps that events were told. A task that was deleted meanwhile needs no record. */
  #note(told: Partial<TaskRecord["told"]>): void {
    if (this.#record === undefined || this.#deleted) return;
    this.#record = { ...this.#record, told: { ...this.#record.told, ...told } };
    writeTaskRecord(this.#hello.stateDir, this.#record);
  }

  /** A line that is a call of containerd's. */
  #take(line: string): boolean {
    const call = decodeTaskCall(line);
    if (call === undefined) return false;
    void this.#answer(call);
    return true;
  }

  async #answer({ call, request: bytes }: TaskCall): Promise<void> {
    const { answer, last } = await this.#carryOut(Buffer.from(bytes, "base64"));
    const reply: TaskReply = {
      reply: call,
      response: Buffer.from(encodeMessage(response, answer)).toString("base64"),
      ...(last ? { last: true } : {}),
    };
    this.#stream.write(`${JSON.stringify(reply)}\n`);
  }

  async #carryOut(bytes: Uint8Array): Promise<{ readonly answer: Answer; readonly last: boolean }> {
    try {
      const { service, method, payload } = decodeMessage(request, bytes);
      if (!(taskServices as readonly string[]).includes(service) || !isMethod(method))
        throw notHere(`${service}/${method} is not known`);
      const answer = await this.#call(method, payload);
      return { answer: { payload: answer }, last: method === "Shutdown" && this.#mayEnd() };
    } catch (error) {
      return { answer: answerOf(error), last: false };
    }
  }

  async #call<M extends TaskMethod>(method: M, payload: Uint8Array): Promise<Uint8Array> {
    const { request: asked, response: answered } = taskMethods[method];
    const handler = this.#handlers[method] as (asked: unknown) => Promise<MessageInput<typeof answered>>;
    const message = decodeMessage(asked, payload);
    if (message.id !== this.#hello.id)
      throw new Refusal("notFound", `this shim is of ${this.#hello.id}, not of ${message.id}`);
    return encodeMessage(answered, await handler(message));
  }

  /** A task that is still there is not shut down, as by runc's shim: not even at once. */
  #mayEnd(): boolean {
    return this.#deleted || this.#record === undefined;
  }

  /** A process of ours stands for a guest, which has none. */
  get #pid(): number {
    return this.#record?.pid || this.#state.warden.pid;
  }

  #created(): TaskRecord {
    if (this.#record === undefined || this.#deleted)
      throw new Refusal("notFound", `task ${this.#hello.id} is not there`);
    return this.#record;
  }

  /** Makes the task; asked again, does what is left of that. */
  async #create(asked: RequestOf<"Create">): Promise<TaskRecord> {
    const hello = this.#hello;
    const { bundle, terminal, stdin, stdout, stderr, rootfs } = asked;
    const { status } = await this.#warden.state();
    if (status === "creating") {
      // What a daemon before had begun, it cannot finish.
      await this.#warden.undo();
      await createTask({
        hello,
        request: asked,
        context: this.#context,
        warden: this.#warden,
        onDecided: (decided) => {
          const told = { create: false, start: false, exit: false };
          this.#record = { version: 1, ...decided, pid: 0, bundle, stdin, stdout, stderr, terminal, told };
          writeTaskRecord(hello.stateDir, this.#record);
        },
      }).catch(async (error: unknown) => {
        this.#record = undefined;
        await this.#warden.undo().catch(() => {});
        throw error;
      });
    }
    const record = this.#created();
    if (record.told.create) return record;
    const state = await this.#warden.state();
    const pid = record.mode === "container" ? state.pid : state.warden.pid;
    this.#record = { ...record, pid };
    const io = { stdin, stdout, stderr, terminal };
    writeTaskRecord(hello.stateDir, this.#record);
    void this.#publisher
      .publish("/tasks/create", { containerId: hello.id, bundle, rootfs, io, pid })
      .then(() => this.#note({ create: true }));
    return this.#record;
  }

  #exec(name: string): Exec {
    this.#created();
    const exec = this.#execs.get(name);
    if (exec === undefined)
      throw new Refusal("notFound", `process ${name} of ${this.#hello.id} is not there`);
    return exec;
  }

  async #start(): Promise<number> {
    const { pid } = this.#created();
    const { status } = await this.#warden.state();
    if (status === "stopped") throw new Refusal("failedPrecondition", "the task has ended");
    // Asked again after it was done, it runs.
    if (status === "created") await this.#warden.start();
    if (!this.#created().told.start) {
      void this.#publisher.publish("/tasks/start", { containerId: this.#hello.id, pid });
      this.#note({ start: true });
    }
    return pid;
  }

  async #startExec(name: string, exec: Exec): Promise<number> {
    if (exec.pid !== undefined) return exec.pid;
    const { request: said } = exec;
    const { pid } = await this.#warden.exec(
      name,
      Buffer.from(said.process).toString("base64"),
      stdioOf(said),
    );
    exec.pid = pid;
    void this.#publisher.publish("/tasks/exec-started", { containerId: this.#hello.id, execId: name, pid });
    return pid;
  }

  #stateOfExec(name: string): ResponseOf<"State"> {
    const { request: said, pid = 0, exit } = this.#exec(name);
    const { stdin, stdout, stderr, terminal } = said;
    const { created, running, stopped } = taskStatus;
    const unended = pid === 0 ? created : running;
    return {
      id: this.#hello.id,
      execId: name,
      bundle: this.#created().bundle,
      pid,
      status: exit === undefined ? unended : stopped,
      stdin,
      stdout,
      stderr,
      terminal,
      ...(exit === undefined ? {} : endOf(exit)),
    };
  }

  async #deleteExec(name: string): Promise<ResponseOf<"Delete">> {
    const { pid = 0, exit } = this.#exec(name);
    if (pid !== 0 && exit === undefined)
      throw new Refusal("failedPrecondition", `process ${name} runs: kill it first`);
    if (pid !== 0) await this.#warden.forget(name);
    this.#execs.forget(name);
    return { pid, ...(exit === undefined ? { exitStatus: 0 } : endOf(exit)) };
  }

  readonly #handlers: Handlers = {
    Create: async (asked) => {
      if (this.#deleted) throw new Refusal("failedPrecondition", `task ${asked.id} was deleted`);
      if (asked.checkpoint !== "") throw notHere("tasks are not restored from checkpoints");
      return { pid: (await this.#create(asked)).pid };
    },
    Start: async ({ execId }) => {
      if (execId === "") {
        this.#starting ??= this.#start().finally(() => (this.#starting = undefined));
        this.#begun = this.#starting;
        return { pid: await this.#starting };
      }
      const exec = this.#exec(execId);
      exec.starting ??= this.#startExec(execId, exec).finally(() => (exec.starting = undefined));
      exec.begun = exec.starting;
      return { pid: await exec.starting };
    },
    State: async ({ execId }) => {
      if (execId !== "") return this.#stateOfExec(execId);
      const { bundle, stdin, stdout, stderr, terminal, pid } = this.#created();
      const ended = this.#exit === undefined ? {} : endOf(this.#exit);
      const { status } =
        this.#exit === undefined ? await this.#warden.state() : { status: "stopped" as const };
      const code = status === "creating" ? taskStatus.created : taskStatus[status];
      return { id: this.#hello.id, bundle, pid, status: code, stdin, stdout, stderr, terminal, ...ended };
    },
    Kill: async ({ execId, signal }) => {
      const exec = execId === "" ? undefined : this.#exec(execId);
      this.#created();
      if (this.#exit !== undefined || exec?.exit !== undefined)
        throw new Refusal("notFound", "process already finished");
      if (signal < 1 || signal > 64)
        throw new Refusal("invalidArgument", `signal ${signal} is not one of 1 to 64`);
      if (exec !== undefined && exec.pid === undefined)
        throw new Refusal("failedPrecondition", `process ${execId} was not started`);
      await this.#warden.signal(signal, exec === undefined ? undefined : execId);
      return {};
    },
    Wait: async ({ execId }) => {
      if (execId !== "") return endOf(await this.#exec(execId).ended.promise);
      this.#created();
      return endOf(await this.#ended.promise);
    },
    Delete: async ({ execId }) => {
      if (execId !== "") return this.#deleteExec(execId);
      const { pid } = this.#created();
      if (this.#exit === undefined) {
        const { status } = await this.#warden.state();
        if (status !== "created" && status !== "creating")
          throw new Refusal("failedPrecondition", `the task is ${status}: kill it first`);
      }
      await this.#warden.delete(true);
      this.#deleted = true;
      const ended = this.#exit === undefined ? { exitStatus: 0 } : endOf(this.#exit);
      void this.#publisher.publish("/tasks/delete", { containerId: this.#hello.id, pid, id: "", ...ended });
      return { pid, ...ended };
    },
    Pids: async () => ({
      processes: [
        { pid: this.#created().pid },
        ...this.#execs
          .list()
          .flatMap(([execId, { pid, exit }]) =>
            pid === undefined || exit !== undefined
              ? []
              : [{ pid, info: packAny(processDetails, { execId }) }],
          ),
      ],
    }),
    Connect: async () => ({ shimPid: this.#state.warden.pid, taskPid: this.#pid, version: "" }),
    Pause: async () => {
      this.#created();
      await this.#warden.pause();
      await this.#publisher.publish("/tasks/paused", { containerId: this.#hello.id });
      return {};
    },
    Resume: async () => {
      this.#created();
      await this.#warden.resume();
      await this.#publisher.publish("/tasks/resumed", { containerId: this.#hello.id });
      return {};
    },
    ResizePty: async ({ execId, width, height }) => {
      const { terminal } = execId === "" ? this.#created() : this.#exec(execId).request;
      if (!terminal) throw new Refusal("failedPrecondition", "the process has no terminal");
      await this.#warden.resize(height, width, execId === "" ? undefined : execId);
      return {};
    },
    // What it is read from has no writer of ours.
    CloseIO: async ({ execId }) => {
      if (execId === "") this.#created();
      else this.#exec(execId);
      return {};
    },
    Shutdown: async () => ({}),
    Exec: async ({ execId, spec, terminal, stdin, stdout, stderr }) => {
      const { id } = this.#hello;
      if (this.#created().mode !== "container")
        throw new Refusal(
          "failedPrecondition",
          `${id} is a unikernel, which has no processes: there is nothing to execute a program in`,
        );
      if (this.#execs.get(execId) !== undefined)
        throw new Refusal("alreadyExists", `process ${execId} of ${id} is there already`);
      if (spec === undefined) throw new Refusal("invalidArgument", "the process to execute is not described");
      const process = JSON.stringify(unpackJson(jsonTypes.process, spec));
      this.#execs.add(execId, { terminal, stdin, stdout, stderr, process });
      void this.#publisher.publish("/tasks/exec-added", { containerId: id, execId });
      return {};
    },
    Checkpoint: async () => {
      throw notHere(`a task of mode ${this.#created().mode} cannot be checkpointed`);
    },
    Update: async ({ resources }) => {
      const record = this.#created();
      if (resources === undefined)
        throw new Refusal("invalidArgument", "there are no resources in the request");
      await updateTask(this.#hello.stateDir, this.#hello.id, record, resources);
      return {};
    },
    Stats: async () => {
      const groups = cgroupsOf(this.#created().pid, this.#hello.id);
      if (groups === undefined) throw new Refusal("notFound", "the task has ended");
      return { stats: metricsOf(groups) };
    },
  };
}

const isMethod = (name: string): name is TaskMethod => Object.hasOwn(taskMethods, name);

const endOf = ({ exitCode, finishedAt }: Exit) => ({
  exitStatus: exitCode,
  exitedAt: timestampOf(finishedAt),
});

function answerOf(error: unknown): Answer {
  if (error instanceof Refusal) return statusAnswer(error.status, error.message);
  if (error instanceof TripodError) {
    const hint = engineHint(error.hint);
    return statusAnswer(statusOf(error), hint === undefined ? error.message : `${error.message} (${hint})`);
  }
  return statusAnswer("internal", error instanceof Error ? (error.stack ?? error.message) : String(error));
}

function statusOf({ code }: TripodError): Exclude<StatusName, "ok"> {
  switch (code) {
    case "sandbox-busy":
      return "failedPrecondition";
    case "program-not-found":
      return "notFound";
    case "bundle-invalid":
    case "usage":
    case "wire-invalid":
      return "invalidArgument";
    default:
      return "unknown";
  }
}
