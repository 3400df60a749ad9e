/**
 * Frames of ttrpc: a header of 10 bytes (length, stream, type, flags; big endian) and a payload. Follows PROTOCOL.md of containerd's module ttrpc.
 */

import { TripodError } from "../spec/errors.ts";

export const frameHeaderBytes = 10;
export const maxPayloadBytes = 4 << 20;

export const frameTypes = { request: 1, response: 2, data: 3 } as const;

/** Bits of `flags`. On a request: whether its sender will send more in this stream; on data: whether it was the last, and whether it has no body. */
export const frameFlags = { remoteClosed: 0x01, remoteOpen: 0x02, noData: 0x04 } as const;

export interface FrameHeader {
  /** Odd when a client began the stream, and larger than all before. */
  readonly streamId: number;
  /** One of {@link frameTypes}; others are to be ignored. */
  readonly type: number;
  readonly flags: number;
}

export interface Frame extends FrameHeader {
  readonly payload: Uint8Array;
}

/** A frame whose payload was too long and is dropped: its stream is answered `resourceExhausted`, and the connection goes on. */
export interface OversizedFrame extends FrameHeader {
  readonly oversizedBytes: number;
}

/** The bytes of a frame. Throws `wire-invalid` when the payload is too long for one. */
export function encodeFrame({ streamId, type, flags, payload }: Frame): Uint8Array {
  if (payload.byteLength > maxPayloadBytes)
    throw new TripodError(
      "wire-invalid",
      `a payload of ${payload.byteLength} bytes; a frame of ttrpc holds ${maxPayloadBytes}`,
    );
  const bytes = new Uint8Array(frameHeaderBytes + payload.byteLength);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, payload.byteLength);
  view.setUint32(4, streamId);
  view.setUint8(8, type);
  view.setUint8(9, flags);
  bytes.set(payload, frameHeaderBytes);
  return bytes;
}

/** Cuts a connection's bytes into frames. It holds one frame at most, however long the peer says that it is, and nothing of the chunks it was given. */
export class FrameSplitter {
  readonly #header = new Uint8Array(frameHeaderBytes);
  #headerLength = 0;
  #payload = new Uint8Array(0);
  #payloadLength = 0;
  /** Of an oversized frame: what is still to be dropped. */
  #dropping = 0;

  /** Whether the bytes so far end within a frame: the peer broke off if nothing follows. */
  get isWithinFrame(): boolean {
    return this.#headerLength > 0 || this.#dropping > 0;
  }

  /** The frames that this chunk completes, in order. An oversized one is told when its header is there, before its payload has passed. */
  push(chunk: Uint8Array): readonly (Frame | OversizedFrame)[] {
    const frames: (Frame | OversizedFrame)[] = [];
    for (let rest = chunk; rest.byteLength > 0;) {
      if (this.#dropping > 0) {
        const dropped = Math.min(this.#dropping, rest.byteLength);
        this.#dropping -= dropped;
        rest = rest.subarray(dropped);
      } else if (this.#headerLength < frameHeaderBytes) {
        const part = rest.subarray(0, frameHeaderBytes - this.#headerLength);
        this.#header.set(part, this.#headerLength);
        this.#headerLength += part.byteLength;
        rest = rest.subarray(part.byteLength);
        if (this.#headerLength === frameHeaderBytes && this.#announced > maxPayloadBytes)
          frames.push(this.#drop());
      } else if (!this.#isComplete) {
        const part = rest.subarray(0, this.#announced - this.#payloadLength);
        this.#keep(part);
        rest = rest.subarray(part.byteLength);
      }
      if (this.#isComplete) frames.push(this.#take());
    }
    return frames;
  }

  get #announced(): number {
    return this.#view.getUint32(0);
  }

  get #isComplete(): boolean {
    return this.#headerLength === frameHeaderBytes && this.#payloadLength === this.#announced;
  }

  get #view(): DataView {
    return new DataView(this.#header.buffer);
  }

  #readHeader(): FrameHeader {
    const view = this.#view;
    return { streamId: view.getUint32(4), type: view.getUint8(8), flags: view.getUint8(9) };
  }

  #drop(): OversizedFrame {
    this.#dropping = this.#announced;
    this.#headerLength = 0;
    return { ...this.#readHeader(), oversizedBytes: this.#dropping };
  }

  #take(): Frame {
    const frame = { ...this.#readHeader(), payload: this.#payload.subarray(0, this.#payloadLength) };
    this.#headerLength = 0;
    this.#payload = new Uint8Array(0);
    this.#payloadLength = 0;
    return frame;
  }

  /** Room grows with what came, not with what was announced, so that an announcement alone costs nothing. */
  #keep(part: Uint8Array): void {
    const wanted = this.#payloadLength + part.byteLength;
    if (wanted > this.#payload.byteLength) {
      const larger = new Uint8Array(
        Math.min(Math.max(wanted, 2 * this.#payload.byteLength), this.#announced),
      );
      larger.set(this.#payload.subarray(0, this.#payloadLength));
      this.#payload = larger;
    }
    this.#payload.set(part, this.#payloadLength);
    this.#payloadLength = wanted;
  }
}
