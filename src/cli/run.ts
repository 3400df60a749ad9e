/** run: an image, as a container or as a unikernel. */

import { type Running, type Prepared, dryRun, runSandbox } from "../lifecycle/run.ts";
import { expectMove } from "../host/cgroup-move.ts";
import { decide } from "../lifecycle/decide.ts";
import type { RunRequest } from "../lifecycle/request.ts";
import { Stages } from "../lifecycle/stages.ts";
import { configOf, openStore } from "../image/image.ts";
import { TripodError } from "../spec/errors.ts";
import { present } from "../spec/present.ts";
import type { SandboxFile } from "../spec/values.ts";
import type { Invocation } from "./command.ts";
import { openContext } from "./context.ts";
import type { RunOptions } from "./flags.ts";
import { imageFor } from "./image-for.ts";
import { type Interruption, interruptible } from "./interrupt.ts";
import { printAnswer } from "./output.ts";
import { attend } from "./run-attend.ts";
import { parseHostname, parseLabels, parsePorts, parseVolumes } from "./run-flags.ts";
import { printDryRun } from "./run-dry.ts";
import type { Terminal } from "./terminal.ts";
import { wishOf } from "./wish.ts";

/** In the background the id is the answer; in the foreground the workload's own output is, and its exit status ours. */
export function handle(invocation: Invocation<RunOptions>): Promise<number> {
  const stages = new Stages();
  return interruptible((interruption) => run(invocation, stages, interruption));
}

async function run(
  { args, options, globals, terminal }: Invocation<RunOptions>,
  stages: Stages,
  interruption: Interruption,
): Promise<number> {
  const { signal } = interruption;
  if (!options.dryRun) expectMove();
  const request = requestOf(args, options, terminal);
  const context = await openContext(globals);
  const store = openStore(context.roots.lib);
  const lease = await store.lease(signal);
  let running: Running;
  try {
    const image = await imageFor(context, store, request.reference, options, terminal, signal);
    const onProbe = (): void => {
      if (terminal.showsProgress) terminal.note("looking at what this machine can do …");
    };
    const decided = await decide(context, store, image, { wish: request.wish, stages, onProbe });
    const prepared: Prepared = { context, store, image, request, decided, stages, signal };
    if (options.dryRun) {
      await printDryRun(terminal, options.output, prepared, await dryRun(prepared));
      return 0;
    }
    running = await runSandbox(prepared);
    const { chosen } = decided.decision;
    const exposed =
      chosen === undefined ? {} : (configOf(image, chosen.offer.manifest).config?.ExposedPorts ?? {});
    if (!request.detach || terminal.showsProgress) tell(terminal, running.file, Object.keys(exposed));
  } finally {
    await lease.release();
  }
  if (options.timings) await tellTimings(terminal, options.output, stages);
  if (request.detach) {
    // It runs: to interrupt us now changes nothing.
    interruption.take(() => {});
    running.warden.close();
    terminal.write(`${running.file.id}\n`);
    return 0;
  }
  return attend(running, terminal, interruption, request);
}

/** The stages go to stderr: stdout is the workload's. */
function tellTimings(terminal: Terminal, format: string, stages: Stages): Promise<void> {
  const rows = stages.rows();
  const onStderr: Terminal = {
    ...terminal,
    write: (text) => {
      for (const line of String(text).trimEnd().split("\n")) terminal.note(line);
    },
  };
  return printAnswer(onStderr, format, { schema: "tripod.timings/1", stages: rows }, () =>
    rows.map(({ stage, ms }) => `${stage.padEnd(8)} ${ms.toFixed(1).padStart(8)} ms\n`).join(""),
  );
}

/** The first flag that only a container can honour. */
const containerOnly = ({ volume, user, workdir }: RunOptions): string | undefined =>
  [
    volume.length > 0 ? "-v" : undefined,
    user === undefined ? undefined : "--user",
    workdir === undefined ? undefined : "--workdir",
  ].find((flag) => flag !== undefined);

/** Ports that a browser or curl reaches by HTTP. */
const httpPorts = new Set(["80", "8000", "8080", "3000", "5000"]);

/** Which way and why, and where it is. */
function tell(terminal: Terminal, file: SandboxFile, exposed: readonly string[]): void {
  terminal.note(`${file.name}: ${file.reason}`);
  if (file.address === undefined) return;
  const tcp = exposed.map((port) => /^(\d+)(?:\/tcp)?$/.exec(port)?.[1]).filter((port) => port !== undefined);
  const http = tcp
    .filter((port) => httpPorts.has(port))
    .map((port) => `http://${file.address}${port === "80" ? "" : `:${port}`}/`);
  terminal.note(`${file.name}: ${http.length > 0 ? http.join(" ") : file.address}`);
  for (const { hostIp, hostPort, guestPort, protocol } of file.ports)
    terminal.note(`${file.name}: port ${hostIp ?? "0.0.0.0"}:${hostPort} → ${guestPort}/${protocol}`);
}

function requestOf(
  [reference = "", ...args]: readonly string[],
  options: RunOptions,
  terminal: Terminal,
): RunRequest {
  if (options.tty && options.interactive && !options.detach && !terminal.inputIsTerminal)
    throw new TripodError("usage", "-it wants a terminal, and standard input is none", {
      hint: "leave out -t",
    });
  const { rows, columns } = process.stdout;
  return {
    reference,
    wish: { ...wishOf(options), ...present({ containerOnly: containerOnly(options) }) },
    args,
    env: options.env,
    volumes: parseVolumes(options.volume),
    ports: parsePorts(options.publish),
    labels: parseLabels(options.label),
    tty: options.tty,
    interactive: options.interactive,
    detach: options.detach,
    // What nobody named and nobody left in the background is not looked for afterwards.
    removeOnExit: options.rm || (!options.detach && options.name === undefined),
    ...present({
      name: options.name,
      entrypoint: options.entrypoint,
      user: options.user,
      workdir: options.workdir,
      hostname: options.hostname === undefined ? undefined : parseHostname(options.hostname),
      network: options.network,
      window: options.tty && terminal.isTerminal ? { rows, cols: columns } : undefined,
    }),
  };
}
