/** check: what this machine can do. */

import { check, lookAtDisk, someModeRuns } from "../host/check.ts";
import type { CheckRow, CheckVerdict } from "../host/check.ts";
import { gatherFacts } from "../host/facts/facts.ts";
import type { Invocation } from "./command.ts";
import { openContext, probeNote } from "./context.ts";
import type { CheckOptions } from "./flags.ts";
import { printAnswer } from "./output.ts";
import { type Column, renderTable } from "./table.ts";
import type { Style } from "./terminal.ts";

/** Probes anew unless `cached`. JSON is an array of `{id, title, verdict, evidence, remedy}`. Status 1 when no mode runs here. */
export async function handle({ options, globals, terminal }: Invocation<CheckOptions>): Promise<number> {
  const context = await openContext(globals);
  const facts = await gatherFacts({ ...context, refresh: !options.cached, onProbe: probeNote(terminal) });
  const rows = check(facts, lookAtDisk(context.roots), context.roots);
  await printAnswer(terminal, options.output, rows, () => renderTable(terminal, columns, rows));
  return someModeRuns(facts) ? 0 : 1;
}

const verdictStyle = { ok: "green", warn: "yellow", missing: "red" } as const satisfies Record<
  CheckVerdict,
  Style
>;

const columns: readonly Column<CheckRow>[] = [
  { title: "ID", cell: ({ id }) => id },
  { title: "VERDICT", cell: ({ verdict }) => verdict, style: ({ verdict }) => verdictStyle[verdict] },
  { title: "EVIDENCE", cell: ({ evidence }) => evidence, maxWidth: 90 },
  { title: "REMEDY", cell: ({ remedy }) => remedy },
];
