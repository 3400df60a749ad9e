/** A terminal for tests: keeps what was written. */

import type { Terminal } from "./terminal.ts";
import { visible } from "./terminal.ts";

export interface CapturedTerminal extends Terminal {
  readonly stdout: () => string;
  readonly stderr: () => string;
}

export function capturedTerminal(over: Partial<Terminal> = {}): CapturedTerminal {
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  return {
    write: (text) => void out.push(Buffer.from(text)),
    writeError: (bytes) => void err.push(Buffer.from(bytes)),
    note: (line) => void err.push(Buffer.from(`${visible(line)}\n`)),
    flush: () => Promise.resolve(),
    isTerminal: false,
    inputIsTerminal: false,
    showsProgress: false,
    color: false,
    columns: undefined,
    ...over,
    stdout: () => Buffer.concat(out).toString("utf8"),
    stderr: () => Buffer.concat(err).toString("utf8"),
  };
}
