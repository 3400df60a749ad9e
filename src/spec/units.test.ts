import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { TripodError } from "./errors.ts";
import { exactSize, formatBytes, parseCpus, parseDuration, parseMemory, parseSize } from "./units.ts";

const refuses = (code: string, run: () => unknown): void =>
  assert.throws(run, (error) => error instanceof TripodError && error.code === code);

test("sizes are binary whatever their suffix", () => {
  for (const text of ["64m", "64M", "64Mi", "64MiB", "64mb", " 64 m "])
    assert.equal(parseSize(text, "-m"), 67_108_864, text);
  assert.equal(parseSize("512", "-m"), 512);
  assert.equal(parseSize("10b", "-m"), 10);
  assert.equal(parseSize("1.5Gi", "-m"), 1_610_612_736);
  assert.equal(parseSize("0", "-m"), 0);
});

test("what is no size is refused with the flag's name", () => {
  for (const text of [
    "",
    "m",
    "-1m",
    "1x",
    "1.5",
    "1e3",
    "0x10",
    "1,5g",
    "9999999999999999t",
    "1mm",
    "1 2",
    "64 mi x",
  ])
    refuses("memory-invalid", () => parseSize(text, "-m"));
  refuses("memory-invalid", () => parseMemory("0", "-m"));
  assert.throws(
    () => parseSize("x", "monitors.qemu.default_memory"),
    /^TripodError: monitors\.qemu\.default_memory: /,
  );
});

test("property: an exact size reads back as the same bytes", () => {
  fc.assert(
    fc.property(
      fc.nat({ max: Number.MAX_SAFE_INTEGER }),
      fc.constantFrom(1, 1024, 1024 ** 2, 1024 ** 3),
      (n, scale) => {
        const bytes = Math.floor(n / scale) * scale;
        assert.equal(parseSize(exactSize(bytes), "-m"), bytes);
      },
    ),
  );
});

test("property: any text is a size or an error, never anything else", () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        assert.ok(Number.isSafeInteger(parseSize(text, "-m")));
      } catch (error) {
        assert.ok(error instanceof TripodError);
      }
    }),
  );
});

test("CPUs and durations", () => {
  assert.equal(parseCpus("1.5", "--cpus"), 1.5);
  assert.equal(parseCpus(".5", "--cpus"), 0.5);
  for (const text of ["0", "0.001", "-1", "x", "2000", "", "1e2"])
    refuses("usage", () => parseCpus(text, "--cpus"));
  assert.equal(parseDuration("10", "-t"), 10_000);
  assert.equal(parseDuration("0", "-t"), 0);
  assert.equal(parseDuration("1m30s", "-t"), 90_000);
  assert.equal(parseDuration("500ms", "-t"), 500);
  assert.equal(parseDuration("1.5h", "-t"), 5_400_000);
  for (const text of ["", "-1", "10x", "ms", "1m 30s"]) refuses("usage", () => parseDuration(text, "-t"));
});

test("amounts for people", () => {
  assert.deepEqual([0, 512, 1536, 67_108_864, 1e12].map(formatBytes), [
    "0 B",
    "512 B",
    "1.5 KiB",
    "64 MiB",
    "931 GiB",
  ]);
});
