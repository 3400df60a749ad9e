/** ps: the sandboxes of the namespace. */

import { type SandboxView, listSandboxes } from "../lifecycle/store.ts";
import type { Invocation } from "./command.ts";
import { openContext } from "./context.ts";
import type { PsOptions } from "./flags.ts";
import { printAnswer, printLines } from "./output.ts";
import { ago, portText, sandboxDocument, shortId, statusText } from "./sandbox-document.ts";
import { type Column, renderTable } from "./table.ts";

/** Prints what runs; with `all`, what has ended too. A dead sandbox is always shown: it holds what someone must clean up. */
export async function handle({ options, globals, terminal }: Invocation<PsOptions>): Promise<number> {
  const context = await openContext(globals);
  const views = (await listSandboxes(context)).filter((view) => options.all || view.status !== "stopped");
  if (options.quiet) {
    printLines(
      terminal,
      views.map(({ file }) => (options.noTrunc ? file.id : shortId(file.id))),
    );
    return 0;
  }
  await printAnswer(terminal, options.output, views.map(sandboxDocument), () =>
    renderTable(terminal, columns(options.noTrunc, Date.now()), views),
  );
  return 0;
}

const columns = (whole: boolean, now: number): readonly Column<SandboxView>[] => [
  { title: "ID", cell: ({ file }) => (whole ? file.id : shortId(file.id)) },
  { title: "NAME", cell: ({ file }) => file.name },
  { title: "IMAGE", cell: ({ file }) => file.image.reference, ...(whole ? {} : { maxWidth: 40 }) },
  { title: "MODE", cell: ({ file }) => file.mode },
  { title: "MONITOR", cell: ({ file }) => file.monitor },
  {
    title: "STATUS",
    cell: statusText,
    style: ({ status }) => (status === "running" ? "green" : status === "dead" ? "red" : undefined),
  },
  { title: "ADDRESS", cell: ({ file }) => file.address ?? "-" },
  { title: "PORTS", cell: ({ file }) => file.ports.map(portText).join(", ") || "-" },
  { title: "CREATED", cell: ({ file }) => ago(file.createdAt, now) },
];
