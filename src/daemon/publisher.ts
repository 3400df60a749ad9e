/** Tells containerd what happened to a task: a call of its ttrpc socket's for each event, in order, tried again while containerd restarts. */

import { type Socket, connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { TripodError } from "../spec/errors.ts";
import type { HostPath } from "../spec/paths.ts";
import { type Topic, type TaskEvent, encodeForward, eventsService } from "../wire/events.ts";
import { FrameSplitter, frameTypes } from "../wire/ttrpc-frame.ts";
import { decodeResponse, encodeRequest, namespaceKey } from "../wire/ttrpc.ts";
import { timestampOf } from "../wire/well-known.ts";

/** Of one try, and of the pauses between tries. containerd's own publisher waits as long. */
const deadlineMs = 5000;
const pausesMs = [100, 400, 1600, 3200, 6400];

export type Event<T extends Topic> = TaskEvent<T>["event"];

export class Publisher {
  readonly #socket: HostPath;
  readonly #namespace: string;
  /** The event before: an event is told only after it. */
  #last: Promise<void> = Promise.resolve();

  constructor(socket: HostPath, namespace: string) {
    this.#socket = socket;
    this.#namespace = namespace;
  }

  /** Resolves when containerd has taken it, or was given up: what happened has happened, whoever hears of it. */
  publish<T extends Topic>(topic: T, event: Event<T>): Promise<void> {
    const timestamp = timestampOf(new Date().toISOString());
    const payload = encodeForward({ topic, namespace: this.#namespace, timestamp, event });
    this.#last = this.#last.then(() => this.#forward(payload));
    return this.#last;
  }

  async #forward(payload: Uint8Array): Promise<void> {
    for (const pauseMs of [0, ...pausesMs]) {
      await sleep(pauseMs, undefined, { ref: false });
      try {
        await this.#tell(payload);
        return;
      } catch {
        // containerd restarts, or is gone for good.
      }
    }
  }

  /** One connection for one event: they are few, and containerd may have been another since the last. */
  async #tell(payload: Uint8Array): Promise<void> {
    const socket = connect({ path: this.#socket });
    const timer = setTimeout(() => socket.destroy(new Error("no answer")), deadlineMs);
    try {
      const answer = answerOf(socket);
      socket.write(
        encodeRequest({
          streamId: 1,
          service: eventsService,
          method: "Forward",
          payload,
          timeoutMs: deadlineMs,
          metadata: [{ key: namespaceKey, value: this.#namespace }],
        }),
      );
      await answer;
    } finally {
      clearTimeout(timer);
      socket.destroy();
    }
  }
}

function answerOf(socket: Socket): Promise<void> {
  const splitter = new FrameSplitter();
  return new Promise((resolve, reject) => {
    socket.on("error", reject).on("close", () => reject(new Error("the connection ended")));
    socket.on("data", (chunk: Buffer) => {
      for (const frame of splitter.push(chunk)) {
        if (!("payload" in frame) || frame.type !== frameTypes.response) continue;
        const answer = decodeResponse(frame);
        if ("status" in answer) reject(new TripodError("wire-invalid", answer.status.message));
        else resolve();
      }
    });
  });
}
