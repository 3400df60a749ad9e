/** How far a transfer is, drawn on a terminal's last line. */

import { formatBytes } from "../spec/units.ts";
import type { Terminal } from "./terminal.ts";

export interface TransferProgress {
  readonly doneBytes: number;
  readonly totalBytes: number;
}

/** Milliseconds between two drawings. */
const intervalMs = 100;
const barColumns = 24;

/** Draws `subject` with a bar; nothing where stderr is no terminal. `end` takes the line away. */
export function progressLine(
  terminal: Pick<Terminal, "showsProgress" | "writeError">,
  subject: string,
  now: () => number = performance.now.bind(performance),
): { readonly show: (progress: TransferProgress) => void; readonly end: () => void } {
  if (!terminal.showsProgress) return { show: () => {}, end: () => {} };
  let lastMs = -Infinity;
  let drawn = false;
  return {
    show({ doneBytes, totalBytes }) {
      if (now() - lastMs < intervalMs) return;
      lastMs = now();
      drawn = true;
      const done = totalBytes === 0 ? 1 : Math.min(1, doneBytes / totalBytes);
      const filled = Math.round(done * barColumns);
      const bar = "=".repeat(filled) + " ".repeat(barColumns - filled);
      terminal.writeError(
        Buffer.from(`\r\u001b[K${subject} [${bar}] ${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}`),
      );
    },
    end() {
      if (drawn) terminal.writeError(Buffer.from("\r\u001b[K"));
    },
  };
}
