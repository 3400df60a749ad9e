/** explain: every way an image could run here, with the reason for or against. */

import { openStore } from "../image/store.ts";
import { decide } from "../lifecycle/decide.ts";
import { type ExplainRow, explainRows, sentence } from "../select/explain.ts";
import type { Invocation } from "./command.ts";
import { openContext, probeNote } from "./context.ts";
import type { ExplainOptions } from "./flags.ts";
import { imageFor } from "./image-for.ts";
import { shortDigest } from "./images.ts";
import { printAnswer } from "./output.ts";
import { type Column, renderTable } from "./table.ts";
import { wishOf } from "./wish.ts";

/**
 * Prints the table and, on stderr, the choice in a sentence. The document is `{schema, image, digest, chosen, sentence, rows, ignored}`.
 * Status 0 when something fits, 1 otherwise.
 */
export async function handle({
  args,
  options,
  globals,
  terminal,
}: Invocation<ExplainOptions>): Promise<number> {
  const [reference = ""] = args;
  const wish = wishOf(options);
  const context = await openContext(globals);
  const store = openStore(context.roots.lib);
  const lease = await store.lease();
  try {
    const image = await imageFor(context, store, reference, options, terminal);
    const { offers, decision } = await decide(context, store, image, { wish, onProbe: probeNote(terminal) });
    const rows = explainRows(decision);
    const chosen = rows.find((row) => row.chosen);
    const document = {
      schema: "tripod.explain/1",
      image: image.reference,
      digest: image.digest,
      chosen: chosen ?? null,
      sentence: sentence(decision, wish),
      rows,
      ignored: offers.ignored,
    };
    await printAnswer(terminal, options.output, document, () => renderTable(terminal, columns, rows));
    if (options.output === "table") {
      terminal.note(`${image.reference}: ${document.sentence}`);
      for (const { manifest, platform, because } of offers.ignored)
        terminal.note(`not considered: ${platform} (${shortDigest(manifest)}): ${because}`);
    }
    return chosen === undefined ? 1 : 0;
  } finally {
    await lease.release();
  }
}

const columns: readonly Column<ExplainRow>[] = [
  { title: "", cell: ({ chosen }) => (chosen ? "*" : " ") },
  { title: "MODE", cell: ({ mode }) => mode },
  { title: "BY", cell: ({ by }) => by },
  { title: "GUEST", cell: ({ guest }) => guest },
  { title: "ARCH", cell: ({ arch }) => arch },
  {
    title: "VERDICT",
    cell: ({ fits, place }) => (fits ? `fits (${place ?? 0})` : "refused"),
    style: ({ fits, chosen }) => (chosen ? "green" : fits ? undefined : "dim"),
  },
  { title: "WHY", cell: ({ why }) => why },
  { title: "REMEDY", cell: ({ remedy }) => remedy || "-" },
];
