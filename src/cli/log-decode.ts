/**
 * Decodes a sandbox's log: lines `<RFC 3339 time> stdout|stderr F|P <bytes>` (the CRI log format). `P` is a piece of a line that
 * goes on, `F` its end. The bytes are the workload's own and need not be text.
 */

export interface LogEntry {
  /** RFC 3339 with nanoseconds, as the warden wrote it. */
  readonly time: string;
  readonly stream: "stdout" | "stderr";
  /** Whether the workload's line goes on in the stream's next entry. */
  readonly partial: boolean;
  readonly content: Buffer;
}

/** The warden cuts lines far below; more without a newline is damage, bytes. */
const maxLineBytes = 1 << 20;
const newline = 0x0a;
const head = /^(\d{4}-\d\d-\d\dT[0-9:.]{8,18}(?:Z|[+-]\d\d:\d\d)) (stdout|stderr) ([FP]) /;
/** No head is longer, bytes. */
const maxHeadBytes = 64;

export interface LogDecoder {
  /** The whole lines that these bytes complete. */
  readonly push: (bytes: Uint8Array) => LogEntry[];
  /** Lines that were no log lines and were left out. */
  readonly damaged: () => number;
}

/** A decoder for one log from its beginning to its end; chunks may be cut anywhere. */
export function logDecoder(): LogDecoder {
  let rest: Buffer = Buffer.alloc(0);
  let damaged = 0;
  // A line that is too long is skipped to its end.
  let skipping = false;
  const push = (bytes: Uint8Array): LogEntry[] => {
    const data = rest.length === 0 ? Buffer.from(bytes) : Buffer.concat([rest, bytes]);
    const entries: LogEntry[] = [];
    let from = 0;
    for (let end = data.indexOf(newline); end >= 0; end = data.indexOf(newline, from)) {
      const entry = skipping ? undefined : decodeLine(data.subarray(from, end));
      if (entry !== undefined) entries.push(entry);
      else if (!skipping) damaged += 1;
      skipping = false;
      from = end + 1;
    }
    rest = data.subarray(from);
    if (rest.length > maxLineBytes) {
      if (!skipping) damaged += 1;
      skipping = true;
      rest = Buffer.alloc(0);
    }
    return entries;
  };
  return { push, damaged: () => damaged };
}

function decodeLine(line: Buffer): LogEntry | undefined {
  // Latin-1, so that one character is one byte.
  const match = head.exec(line.toString("latin1", 0, maxHeadBytes));
  if (match === null) return undefined;
  const [whole, time = "", stream, tag] = match;
  return {
    time,
    stream: stream === "stderr" ? "stderr" : "stdout",
    partial: tag === "P",
    content: line.subarray(whole.length),
  };
}

/**
 * Keeps the last `count` lines of entries in which the pieces of two streams may alternate. A line's place is where it began; its pieces come
 * out together.
 */
export function lastLines(count: number): {
  readonly push: (entry: LogEntry) => void;
  readonly take: () => LogEntry[];
} {
  let lines: LogEntry[][] = [];
  const unfinished = new Map<LogEntry["stream"], LogEntry[]>();
  return {
    push(entry) {
      const line = unfinished.get(entry.stream) ?? [];
      if (line.length === 0) lines.push(line);
      line.push(entry);
      if (entry.partial) unfinished.set(entry.stream, line);
      else unfinished.delete(entry.stream);
      // Trimmed now and then, so that a long log costs time in proportion to its length.
      if (lines.length >= 2 * count + 1000) lines = count === 0 ? [] : lines.slice(-count);
    },
    take: () => (count === 0 ? [] : lines.slice(-count).flat()),
  };
}
