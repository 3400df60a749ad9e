import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type LogEntry, lastLines, logDecoder } from "./log-decode.ts";
import { parseSince, parseTail, printer } from "./logs.ts";
import { capturedTerminal } from "./testing.ts";

const entry = fc.record(
  {
    time: fc.constantFrom("2026-11-24T04:00:46.123456789Z", "2026-01-01T00:00:00Z"),
    stream: fc.constantFrom("stdout" as const, "stderr" as const),
    partial: fc.boolean(),
    content: fc
      .uint8Array({ maxLength: 40 })
      .map((bytes) => Buffer.from(bytes.map((byte) => (byte === 10 ? 11 : byte)))),
  },
  { noNullPrototype: true },
);

const encode = ({ time, stream, partial, content }: LogEntry): Buffer =>
  Buffer.concat([Buffer.from(`${time} ${stream} ${partial ? "P" : "F"} `), content, Buffer.from("\n")]);

function cut(bytes: Buffer, at: readonly number[]): Buffer[] {
  const places = [0, ...at.map((n) => n % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length];
  return places.slice(1).map((end, index) => bytes.subarray(places[index] ?? 0, end));
}

test("entries come back byte for byte, wherever the chunks are cut", () => {
  fc.assert(
    fc.property(fc.array(entry), fc.array(fc.nat()), (entries, cuts) => {
      const decoder = logDecoder();
      const decoded = cut(Buffer.concat(entries.map(encode)), cuts).flatMap((chunk) => decoder.push(chunk));
      assert.deepEqual(decoded, entries);
      assert.equal(decoder.damaged(), 0);
    }),
  );
});

test("damage costs only the damaged lines", () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.array(fc.nat()), (noise, cuts) => {
      const good = {
        time: "2026-01-01T00:00:00Z",
        stream: "stdout",
        partial: false,
        content: Buffer.from("kept"),
      } as const;
      const decoder = logDecoder();
      const bytes = Buffer.concat([encode(good), noise, Buffer.from("\n"), encode(good)]);
      const decoded = cut(bytes, cuts).flatMap((chunk) => decoder.push(chunk));
      assert.deepEqual(decoded[0], good);
      assert.deepEqual(decoded.at(-1), good);
    }),
  );
});

test("a line without end takes no endless memory and is counted once", () => {
  const decoder = logDecoder();
  for (let n = 0; n < 40; n++) assert.deepEqual(decoder.push(Buffer.alloc(100_000, "x")), []);
  const after = decoder.push(Buffer.from("\n2026-01-01T00:00:00Z stderr F back\n"));
  assert.deepEqual(
    after.map(({ content }) => content.toString()),
    ["back"],
  );
  assert.equal(decoder.damaged(), 1);
});

test("the last lines are whole lines, in order", () => {
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 200 }), fc.nat({ max: 5 }), (entries, count) => {
      const last = lastLines(count);
      for (const one of entries) last.push(one);
      const kept = last.take();
      // The model: number every line where it begins, keep those with the highest numbers.
      const open = new Map<string, number>();
      let lines = 0;
      const numbered = entries.map((one) => {
        const line = open.get(one.stream) ?? lines++;
        if (one.partial) open.set(one.stream, line);
        else open.delete(one.stream);
        return { one, line };
      });
      const wanted = numbered.filter(({ line }) => line >= lines - count).toSorted((a, b) => a.line - b.line);
      assert.deepEqual(
        kept,
        wanted.map(({ one }) => one),
      );
    }),
  );
});

test("a long log is trimmed while it is read", () => {
  const last = lastLines(2);
  for (let n = 0; n < 10_000; n++)
    last.push({
      time: "2026-01-01T00:00:00Z",
      stream: "stdout",
      partial: false,
      content: Buffer.from(String(n)),
    });
  assert.deepEqual(
    last.take().map(({ content }) => content.toString()),
    ["9998", "9999"],
  );
});

test("printing joins pieces, keeps the streams apart and stamps each line once", () => {
  const terminal = capturedTerminal();
  const print = printer(terminal, true);
  const say = (stream: "stdout" | "stderr", partial: boolean, text: string): void =>
    print({ time: "T", stream, partial, content: Buffer.from(text) });
  say("stdout", true, "one ");
  say("stderr", false, "error");
  say("stdout", false, "line");
  say("stdout", true, "no newline");
  assert.equal(terminal.stdout(), "T one line\nT no newline");
  assert.equal(terminal.stderr(), "T error\n");
});

test("--tail and --since take what people write and refuse the rest", () => {
  assert.equal(parseTail("all"), undefined);
  assert.equal(parseTail("0"), 0);
  assert.throws(() => parseTail("-1"), /no number of lines/);
  assert.equal(parseSince("10m", 1_000_000), 400_000);
  assert.equal(parseSince("2026-01-01T00:00:00Z", 0), Date.UTC(2026, 0, 1));
  assert.throws(() => parseSince("2026-13-45", 0), /no time/);
  assert.throws(() => parseSince("soon", 0), /not a duration/);
});
