/**
 * tripodd: the brain that waits. It holds what a decision needs (the code, the configuration, the node's facts) and answers `tripod-runtime create` on
 * `<run>/tripodd.sock` in the words of `spec/brain.ts`. It holds nothing of any sandbox: it may be killed and restarted at any moment, a conversation that it
 * leaves is undone by the warden, and where it does not answer a Node is started for the one conversation.
 */

import { chmodSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { type Server, type Socket, connect, createServer } from "node:net";
import { join } from "node:path";
import { gatherFacts } from "../host/facts/facts.ts";
import { stateError } from "../host/state-error.ts";
import type { Context } from "../lifecycle/context.ts";
import { converse, firstLine } from "../lifecycle/engine/create.ts";
import { decodeTaskHello } from "../spec/brain.ts";
import { TripodError } from "../spec/errors.ts";
import { attendTask } from "./task.ts";

/** Connections at once, of which every task has one as long as it lives. */
const maxConnections = 65_536;
/** How long a caller may say nothing. */
const silenceMs = 10_000;
/** How long conversations that go on may take once the daemon is to end. */
const drainMs = 10_000;

export interface Daemon {
  readonly socket: string;
  /** Reads the configuration anew for the conversations that begin from now on. Throws what the reading throws; the old one then stays. */
  readonly reload: () => Promise<void>;
  /** Takes no more conversations and resolves when the last has ended or its time is up. */
  readonly close: () => Promise<void>;
  /** Resolves when nobody has been connected for so long. */
  readonly idle: (ms: number) => Promise<void>;
}

/** Starts it: probes the machine, then listens. Throws `daemon-running`, `state-unwritable`. `open` reads the configuration. */
export async function startDaemon(open: () => Promise<Context>): Promise<Daemon> {
  let context = await open();
  const { run } = context.roots;
  const socket = join(run, "tripodd.sock");
  try {
    mkdirSync(run, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw stateError(error, `${run} cannot be made`);
  }
  if (await isAnswered(socket))
    throw new TripodError("daemon-running", `another tripodd answers on ${socket}`);
  // Before the first caller comes: what is probed is kept on disk, and read from there.
  await gatherFacts(context);
  const open_ = new Set<Socket>();
  /** Of tasks: they wait for whoever comes next. */
  const tasks = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (stream) => {
    open_.add(stream);
    stream.once("close", () => open_.delete(stream));
    stream.on("error", () => stream.destroy());
    void attend(stream, context, tasks).then(() => stream.end());
  });
  server.maxConnections = maxConnections;
  await listen(server, socket, run);
  const idle = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      let timer = setTimeout(resolve, ms);
      server.on("connection", (stream: Socket) => {
        clearTimeout(timer);
        stream.once("close", () => {
          clearTimeout(timer);
          if (open_.size === 0) timer = setTimeout(resolve, ms);
        });
      });
    });
  return {
    socket,
    idle,
    reload: async () => {
      context = await open();
      await gatherFacts(context);
    },
    close: async () => {
      rmSync(socket, { force: true });
      for (const stream of tasks) stream.destroy();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      const late = setTimeout(() => {
        for (const stream of open_) stream.destroy();
      }, drainMs);
      await closed;
      clearTimeout(late);
    },
  };
}

/** A runtime's one conversation, or a task's for as long as it lives. */
async function attend(stream: Socket, context: Context, tasks: Set<Socket>): Promise<void> {
  try {
    const silent = setTimeout(() => stream.destroy(), silenceMs);
    const line = await firstLine(stream).finally(() => clearTimeout(silent));
    const hello = decodeTaskHello(line);
    if (hello === undefined) await converse(stream, context, { line });
    else {
      tasks.add(stream);
      await attendTask(stream, hello, context);
    }
  } catch {
    // Whoever called is gone, or is none of ours: there is nobody to tell.
    stream.destroy();
  } finally {
    tasks.delete(stream);
  }
}

function isAnswered(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const stream = connect({ path: socket });
    const settle = (answer: boolean) => (): void => {
      stream.destroy();
      resolve(answer);
    };
    stream.once("connect", settle(true)).once("error", settle(false));
  });
}

/** Listens under a name of its own first, so that nobody meets a socket that is not ready or open to others; it then takes the place of a dead daemon's. */
async function listen(server: Server, socket: string, run: string): Promise<void> {
  const aside = join(run, `.tripodd-${process.pid}.sock`);
  rmSync(aside, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(aside, () => {
      server.off("error", reject);
      resolve();
    });
  }).catch((error: unknown) => {
    throw stateError(error, `the socket ${socket} cannot be made`);
  });
  chmodSync(aside, 0o600);
  renameSync(aside, socket);
}
