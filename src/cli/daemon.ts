/** The entry of `tripodd`. */

import { startDaemon } from "../daemon/daemon.ts";
import { TripodError } from "../spec/errors.ts";
import { openContext, type Places } from "./context.ts";

const help = `tripodd: the brain of this node's sandboxes, for tripod-runtime

Usage: tripodd [--root DIR] [--config FILE] [--idle]

  --root DIR     directory for all state (TRIPOD_ROOT); default: /run/tripod and /var/lib/tripod
  --config FILE  configuration (TRIPOD_CONFIG); default: /etc/tripod/config.toml
  --idle         end when nobody has been connected for a minute, as one that was started on demand

HUP reads the configuration anew. TERM ends it when the sandboxes that are just being created are; those that run never notice.
`;

interface Options extends Places {
  readonly idle: boolean;
}

const idleMs = 60_000;

function optionsOf(argv: readonly string[]): Options | undefined {
  const options: { root?: string; config?: string; idle?: true } = {};
  for (let at = 0; at < argv.length; at++) {
    const [name, inline] = (argv[at] ?? "").split(/=(.*)/s, 2);
    if (name === "--help" || name === "-h") return undefined;
    if (argv[at] === "--idle") {
      options.idle = true;
      continue;
    }
    if (name !== "--root" && name !== "--config")
      throw new TripodError("usage", `tripodd knows no ${JSON.stringify(argv[at])}`, {
        hint: "tripodd --help",
      });
    const value = inline ?? argv[++at];
    if (value === undefined || value === "")
      throw new TripodError("usage", `${name} needs a value`, { hint: "tripodd --help" });
    options[name === "--root" ? "root" : "config"] = value;
  }
  return {
    root: options.root ?? process.env["TRIPOD_ROOT"],
    config: options.config ?? process.env["TRIPOD_CONFIG"],
    idle: options.idle === true,
  };
}

async function main(argv: readonly string[]): Promise<void> {
  const options = optionsOf(argv);
  if (options === undefined) {
    process.stdout.write(help);
    return;
  }
  const daemon = await startDaemon(() => openContext(options, "engine"));
  note(`answers on ${daemon.socket}`);
  process.on("SIGHUP", () => {
    daemon.reload().then(
      () => note("the configuration was read anew"),
      (error: unknown) => note(`the configuration stays as it was: ${told(error)}`),
    );
  });
  await new Promise<void>((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => resolve());
    if (options.idle) void daemon.idle(idleMs).then(resolve);
  });
  await daemon.close();
}

const note = (text: string): void => {
  process.stderr.write(`tripodd: ${text}\n`);
};
const told = (error: unknown): string => (error instanceof Error ? error.message : String(error));

void main(process.argv.slice(2)).then(
  () => process.exit(0),
  (error: unknown) => {
    note(told(error));
    if (error instanceof TripodError) process.stderr.write(`hint: ${error.hint}\n`);
    process.exit(error instanceof TripodError ? error.exit : 1);
  },
);
