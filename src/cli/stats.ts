/** stats: memory, processor time and processes of what runs. */

import { setTimeout as sleep } from "node:timers/promises";
import { type Usage, sandboxUsage } from "../host/usage.ts";
import type { Context } from "../lifecycle/context.ts";
import { type SandboxView, findSandbox, listSandboxes } from "../lifecycle/store.ts";
import { TripodError } from "../spec/errors.ts";
import { formatBytes } from "../spec/units.ts";
import type { Invocation } from "./command.ts";
import { openContext } from "./context.ts";
import type { StatsOptions } from "./flags.ts";
import { printAnswer } from "./output.ts";
import { shortId } from "./sandbox-document.ts";
import { type Column, renderTable } from "./table.ts";

/** Milliseconds between two looks; processor load is what was used between them. */
const intervalMs = 1000;

/** Version 1, `schema: "tripod.stats/1"`. */
interface StatsDocument {
  readonly schema: "tripod.stats/1";
  readonly id: string;
  readonly name: string;
  readonly mode: string;
  readonly monitor: string;
  readonly memoryBytes: number;
  readonly memoryLimitBytes: number | null;
  /** Nanoseconds since the start. */
  readonly cpuNs: number;
  /** Of one processor, 100 is one wholly used. */
  readonly cpuPercent: number;
  readonly processes: number;
}

interface Look {
  readonly view: SandboxView;
  readonly usage: Usage;
  readonly atMs: number;
}

/** Prints once, or on a terminal again and again until nothing runs any more; into a pipe each look is printed below the last. */
export async function handle({
  args,
  options,
  globals,
  terminal,
}: Invocation<StatsOptions>): Promise<number> {
  const context = await openContext(globals);
  for (const view of await Promise.all(args.map((name) => findSandbox(context, name))))
    if (view.status !== "running" && view.status !== "paused")
      throw new TripodError("sandbox-busy", `${view.file.name} does not run (${view.status})`, {
        hint: "tripod ps -a",
      });
  let before = byId(await look(context, args));
  for (;;) {
    await sleep(intervalMs);
    const now = await look(context, args);
    const documents = now.map((entry) => documentOf(entry, before.get(entry.view.file.id)));
    if (!options.noStream && terminal.isTerminal && options.output === "table")
      terminal.write("\u001b[H\u001b[2J");
    await printAnswer(terminal, options.output, documents, () => renderTable(terminal, columns, documents));
    await terminal.flush();
    if (options.noStream || (documents.length === 0 && args.length > 0)) return 0;
    before = byId(now);
  }
}

const byId = (looks: readonly Look[]): ReadonlyMap<string, Look> =>
  new Map(looks.map((entry) => [entry.view.file.id, entry]));

/** What runs now, all or those named; one that has ended is left out. */
async function look(context: Context, names: readonly string[]): Promise<readonly Look[]> {
  const views = (await listSandboxes(context)).filter(
    ({ file, status }) =>
      (status === "running" || status === "paused") &&
      (names.length === 0 || names.some((name) => file.name === name || file.id.startsWith(name))),
  );
  const looks = await Promise.all(
    views.map(async (view): Promise<Look | undefined> => {
      const usage = view.state === undefined ? undefined : await sandboxUsage(view.state.pid, view.file.id);
      return usage === undefined ? undefined : { view, usage, atMs: performance.now() };
    }),
  );
  return looks.filter((entry) => entry !== undefined);
}

function documentOf({ view, usage, atMs }: Look, before: Look | undefined): StatsDocument {
  const elapsedNs = before === undefined ? 0 : (atMs - before.atMs) * 1e6;
  const usedNs = before === undefined ? 0 : usage.cpuNs - before.usage.cpuNs;
  const percent = elapsedNs > 0 ? (100 * Math.max(0, usedNs)) / elapsedNs : 0;
  return {
    schema: "tripod.stats/1",
    id: view.file.id,
    name: view.file.name,
    mode: view.file.mode,
    monitor: view.file.monitor,
    memoryBytes: usage.memoryBytes,
    memoryLimitBytes: usage.memoryLimitBytes ?? null,
    cpuNs: usage.cpuNs,
    cpuPercent: Math.round(percent * 100) / 100,
    processes: usage.processes,
  };
}

const columns: readonly Column<StatsDocument>[] = [
  { title: "ID", cell: ({ id }) => shortId(id) },
  { title: "NAME", cell: ({ name }) => name },
  { title: "MODE", cell: ({ mode }) => mode },
  { title: "MONITOR", cell: ({ monitor }) => monitor },
  { title: "CPU %", align: "right", cell: ({ cpuPercent }) => cpuPercent.toFixed(1) },
  { title: "MEMORY", align: "right", cell: ({ memoryBytes }) => formatBytes(memoryBytes) },
  {
    title: "LIMIT",
    align: "right",
    cell: ({ memoryLimitBytes }) => (memoryLimitBytes === null ? "-" : formatBytes(memoryLimitBytes)),
  },
  { title: "PROCESSES", align: "right", cell: ({ processes }) => String(processes) },
];
