/** Where a command's words go: the answer to stdout, the story to stderr. An interface, so that handlers can be tested without a process. */

export interface Terminal {
  /** Writes to stdout as it is. */
  readonly write: (text: string | Uint8Array) => void;
  /** Writes to stderr as it is: a workload's own bytes. */
  readonly writeError: (bytes: Uint8Array) => void;
  /** Resolves when what was written has been taken, so that a slow reader slows us and not our memory. */
  readonly flush: () => Promise<void>;
  /** Writes a line to stderr; control characters are shown, not obeyed. */
  readonly note: (line: string) => void;
  /** Whether stdout is a terminal. */
  readonly isTerminal: boolean;
  /** Whether stdin is a terminal. */
  readonly inputIsTerminal: boolean;
  /** Whether stderr is a terminal, so that progress may be drawn there. */
  readonly showsProgress: boolean;
  /** Whether stdout takes colours: a terminal, `NO_COLOR` not set (no-color.org), `TERM` not `dumb`. */
  readonly color: boolean;
  /** Width of stdout in columns; undefined when it is no terminal. */
  readonly columns: number | undefined;
}

/** A terminal that knows when all that was written has left. */
export interface ProcessTerminal extends Terminal {
  /** Resolves when the streams that were used have taken everything. */
  readonly finish: () => Promise<void>;
}

/**
 * This process's own streams. Each is made when it is first used: Node takes a millisecond for every one, and a start that prints nothing
 * pays for none.
 */
export function processTerminal(): ProcessTerminal {
  const { env } = process;
  const used = new Set<NodeJS.WriteStream>();
  const use = (stream: NodeJS.WriteStream): NodeJS.WriteStream => {
    if (!used.has(stream)) stream.on("error", leaveQuietly);
    used.add(stream);
    return stream;
  };
  const isDumb = env["TERM"] === "dumb";
  return {
    write: (text) => void use(process.stdout).write(text),
    writeError: (bytes) => void use(process.stderr).write(bytes),
    note: (line) => void use(process.stderr).write(`${visible(line)}\n`),
    flush: async () => {
      await Promise.all([...used].map(drained));
    },
    finish: async () => {
      // An empty write is answered after all that came before it.
      await Promise.all(
        [...used].map((stream) => new Promise<void>((resolve) => stream.write("", () => resolve()))),
      );
    },
    get isTerminal() {
      return process.stdout.isTTY === true;
    },
    get inputIsTerminal() {
      return process.stdin.isTTY === true;
    },
    get showsProgress() {
      return !isDumb && process.stderr.isTTY === true;
    },
    get color() {
      return !isDumb && (env["NO_COLOR"] ?? "") === "" && process.stdout.isTTY === true;
    },
    get columns() {
      return process.stdout.isTTY === true ? process.stdout.columns : undefined;
    },
  };
}

/** A reader that has gone away (`| head`) ends us without a word, as it would any other program: 128 + SIGPIPE. */
function leaveQuietly(error: NodeJS.ErrnoException): void {
  if (error.code === "EPIPE") process.exit(141);
  throw error;
}

function drained(stream: NodeJS.WriteStream): Promise<void> {
  if (!stream.writableNeedDrain) return Promise.resolve();
  return new Promise((resolve) => stream.once("drain", resolve));
}

// C0, DEL, C1, and the characters that reorder or hide text: what comes from an image or a guest must not drive a terminal.
const unprintable =
  // oxlint-disable-next-line no-control-regex
  /[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** The text with control characters as `\x1b`, for printing what comes from outside. */
export const visible = (text: string): string =>
  text
    .toWellFormed()
    .replace(unprintable, (character) => {
      const code = character.charCodeAt(0);
      if (character === "\n") return "\\n";
      return code < 0x100
        ? `\\x${code.toString(16).padStart(2, "0")}`
        : `\\u${code.toString(16).padStart(4, "0")}`;
    })
    .replaceAll("\t", " ");

const codes = { red: 31, green: 32, yellow: 33, bold: 1, dim: 2 } as const;
export type Style = keyof typeof codes;

/** The text in a style, if the terminal takes it. */
export const styled = (terminal: Pick<Terminal, "color">, style: Style, text: string): string =>
  terminal.color ? `\u001b[${codes[style]}m${text}\u001b[0m` : text;
