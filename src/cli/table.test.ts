import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { displayWidth, renderTable, shorten } from "./table.ts";
import { visible } from "./terminal.ts";

const plain = { color: false };

test("columns line up and lines do not end in blanks", () => {
  const text = renderTable(
    plain,
    [
      { title: "NAME", cell: ([name]: readonly [string, number]) => name },
      { title: "N", cell: ([, n]) => String(n), align: "right" as const },
      { title: "LAST", cell: () => "" },
    ],
    [
      ["a", 1],
      ["日本", 100],
    ],
  );
  assert.equal(text, "NAME    N  LAST\na       1\n日本  100\n");
});

test("styles do not move columns, and only where colour is wanted", () => {
  const columns = [
    { title: "V", cell: (text: string) => text, style: () => "green" as const },
    { title: "W", cell: () => "x" },
  ];
  assert.equal(renderTable({ color: true }, columns, ["ok"]), "V   W\n\u001b[32mok\u001b[0m  x\n");
  assert.equal(renderTable(plain, columns, ["ok"]), "V   W\nok  x\n");
});

test("whatever a cell holds, a row is one line without control characters, and every column begins where its title does", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }))), (rows) => {
      const text = renderTable(
        plain,
        [
          { title: "FIRST", cell: ([first]: readonly [string, string]) => first },
          { title: "SECOND", cell: ([, second]) => `|${second}` },
        ],
        rows,
      );
      const lines = text.split("\n");
      assert.equal(lines.length, rows.length + 2);
      // oxlint-disable-next-line no-control-regex
      assert.ok(!/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/.test(text));
      const at = displayWidth((lines[0] ?? "").slice(0, (lines[0] ?? "").indexOf("SECOND")));
      for (const [index, row] of rows.entries()) {
        const first = visible(row[0]);
        const line = lines[index + 1] ?? "";
        assert.ok(line.startsWith(first.trimEnd()));
        assert.equal(displayWidth(first) + line.slice(first.length).indexOf("|"), at);
      }
    }),
  );
});

test("shortening keeps within the width and marks the cut", () => {
  assert.equal(shorten("abcdef", 6), "abcdef");
  assert.equal(shorten("abcdef", 4), "abc…");
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.integer({ min: 1, max: 20 }), (text, width) => {
      assert.ok(displayWidth(shorten(text, width)) <= width);
    }),
  );
});

test("control characters are shown, not obeyed", () => {
  assert.equal(visible("a\u001b[31mb\nc\u0000\u202e"), "a\\x1b[31mb\\nc\\x00\\u202e");
});
