/** Tables for people: columns as wide as their widest cell, two blanks between, nothing that a machine should parse. */

import { type Style, type Terminal, styled, visible } from "./terminal.ts";

export interface Column<Row> {
  readonly title: string;
  readonly cell: (row: Row) => string;
  /** Numbers stand on the right. */
  readonly align?: "right";
  readonly style?: (row: Row) => Style | undefined;
  /** Cells wider than this end in `…`. */
  readonly maxWidth?: number;
}

/** A table with a head line; every line ends with a newline. Cells are one line each and hold no control character. */
export function renderTable<Row>(
  terminal: Pick<Terminal, "color">,
  columns: readonly Column<Row>[],
  rows: readonly Row[],
): string {
  const cells = rows.map((row) =>
    columns.map((column) => {
      const text = visible(column.cell(row));
      return column.maxWidth === undefined ? text : shorten(text, column.maxWidth);
    }),
  );
  const widths = columns.map((column, at) =>
    Math.max(displayWidth(column.title), ...cells.map((line) => displayWidth(line[at] ?? ""))),
  );
  const lines = [
    layOut(
      columns,
      widths,
      columns.map(({ title }) => title),
    ),
    ...rows.map((row, index) =>
      layOut(columns, widths, cells[index] ?? [], (at, text) => {
        const style = columns[at]?.style?.(row);
        return style === undefined ? text : styled(terminal, style, text);
      }),
    ),
  ];
  return lines.map((line) => `${line}\n`).join("");
}

function layOut<Row>(
  columns: readonly Column<Row>[],
  widths: readonly number[],
  line: readonly string[],
  dress: (at: number, text: string) => string = (_, text) => text,
): string {
  const last = columns.length - 1;
  return columns
    .map((column, at) => {
      const text = line[at] ?? "";
      const space = " ".repeat(Math.max(0, (widths[at] ?? 0) - displayWidth(text)));
      if (column.align === "right") return space + dress(at, text);
      // No blanks at the end of a line.
      return dress(at, text) + (at === last ? "" : space);
    })
    .join("  ")
    .trimEnd();
}

/** Cuts a text to `width` columns, the last of them `…`. */
export function shorten(text: string, width: number): string {
  if (displayWidth(text) <= width) return text;
  let kept = "";
  let used = 0;
  for (const character of text) {
    const next = used + characterWidth(character);
    if (next > width - 1) break;
    kept += character;
    used = next;
  }
  return `${kept}…`;
}

/** Columns that a terminal uses for the text: two for East Asian wide characters and emoji, none for combining marks. */
export function displayWidth(text: string): number {
  let width = 0;
  for (const character of text) width += characterWidth(character);
  return width;
}

const combining = /^\p{M}$/u;
const wide =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]$/u;

function characterWidth(character: string): number {
  if ((character.codePointAt(0) ?? 0) < 0x300) return 1;
  if (combining.test(character)) return 0;
  return wide.test(character) ? 2 : 1;
}
