/** What `run --dry-run` prints: the decision, the plan, the monitor's argv. */

import type { DryRun, Prepared } from "../lifecycle/run.ts";
import { explainRows, sentence } from "../select/explain.ts";
import type { Step } from "../spec/plan.ts";
import { printAnswer } from "./output.ts";
import type { Terminal } from "./terminal.ts";

/** The document is `{schema, sandbox, decision, ground, launch, argv}`; the network in it is made up. */
export async function printDryRun(
  terminal: Terminal,
  format: string,
  { decided, request }: Prepared,
  dry: DryRun,
): Promise<void> {
  const argv = dry.rendered?.argv ?? null;
  const document = {
    schema: "tripod.dry-run/1",
    sandbox: dry.sandbox,
    decision: { sentence: sentence(decided.decision, request.wish), rows: explainRows(decided.decision) },
    ground: dry.ground,
    launch: dry.launch,
    argv,
  };
  await printAnswer(terminal, format, document, () =>
    [
      `decision  ${document.decision.sentence}`,
      ...dry.ground.steps.map((step) => `ground    ${stepText(step)}`),
      ...dry.launch.steps.map((step) => `launch    ${stepText(step)}`),
      ...(argv === null
        ? []
        : [
            `argv      ${argv.map((word) => (/[^\w@%+=:,./-]/.test(word) || word === "" ? JSON.stringify(word) : word)).join(" ")}`,
          ]),
      "",
    ].join("\n"),
  );
}

/** A step in a line; file contents and filters by their size. */
function stepText({ do: kind, ...rest }: Step): string {
  const parts = Object.entries(rest).map(([key, value]) => {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    return `${key}=${text.length > 100 ? `(${text.length} characters)` : text}`;
  });
  return `${kind.padEnd(11)} ${parts.join(" ")}`;
}
