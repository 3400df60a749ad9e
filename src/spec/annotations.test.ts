import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decodeBase64, ownKeys, readOwn, readUrunc } from "./annotations.ts";
import { TripodError } from "./errors.ts";
import { editDistance, nearest } from "./nearest.ts";

const base64 = (text: string): string => Buffer.from(text).toString("base64");
const prefix = "com.urunc.unikernel.";

test("an unknown key or value of ours is an error that names it and the nearest known one", () => {
  const base = {
    "dev.tripod.mode": "unikernel",
    "dev.tripod.guest": "solo5",
    "dev.tripod.monitors": "spt",
    "dev.tripod.kernel": "/k",
  };
  const cases: readonly (readonly [Record<string, string>, RegExp, RegExp | undefined])[] = [
    [{ "dev.tripod.kernal": "/k" }, /kernal/, /dev\.tripod\.kernel\?/],
    [{ ...base, "dev.tripod.mode": "unikernl" }, /dev\.tripod\.mode.*unikernl/, /unikernel\?/],
    [{ ...base, "dev.tripod.monitors": "spt, hvx" }, /hvx/, /hvt\?/],
    [{ "dev.tripod.guest": "solo5" }, /mode: is missing/, undefined],
    [{ ...base, "dev.tripod.kernel": "" }, /kernel: is missing/, undefined],
    [{ ...base, "dev.tripod.kernel": "/a\0b" }, /no NUL/, undefined],
    [{ ...base, "dev.tripod.min-memory": "4MB" }, /4Mi/, undefined],
    [{ ...base, "dev.tripod.min-memory": "0" }, /4Mi/, undefined],
    [{ ...base, "dev.tripod.net-devices": "a,b c" }, /b c/, undefined],
  ];
  for (const [source, message, hint] of cases)
    assert.throws(
      () => readOwn(source, "the label"),
      (error) =>
        error instanceof TripodError &&
        error.code === "annotation-invalid" &&
        message.test(error.message) &&
        (hint === undefined || hint.test(error.hint ?? "")),
      JSON.stringify(source),
    );
  assert.equal(readOwn({ "org.example": "x" }, "s"), undefined);
  const read = readOwn({ ...base, "dev.tripod.min-memory": "4Mi", "dev.tripod.net-devices": "" }, "s");
  assert.ok(read?.mode === "unikernel");
  assert.deepEqual([read.minMemoryBytes, read.netDevices, "initrd" in read], [4194304, [], false]);
});

test("property: urunc's values read the same from plain text and from base64", () => {
  const known = fc.constantFrom("rumprun", "unikraft", "mirage", "mewz", "linux", "hermit");
  const monitor = fc.constantFrom("qemu", "firecracker", "hvt", "spt", "cloud-hypervisor");
  const text = fc.string({ minLength: 1, maxLength: 60 }).filter((value) => !value.includes("\0"));
  fc.assert(
    fc.property(known, monitor, text, text, (type, hypervisor, binary, cmdline) => {
      const plain = { unikernelType: type, hypervisor, binary, cmdline };
      const source = (encode: (value: string) => string) =>
        Object.fromEntries(Object.entries(plain).map(([key, value]) => [prefix + key, encode(value)]));
      const expected = { ...plain, mountRootfs: false };
      for (const kind of ["annotations", "file"] as const) {
        assert.deepEqual(
          readUrunc(
            source((value) => value),
            "s",
            kind,
          ),
          expected,
        );
        assert.deepEqual(readUrunc(source(base64), "s", kind), expected);
      }
    }),
  );
});

test("plain `qemu`, which is valid base64 too, stays plain; a mixed source is refused", () => {
  const source = {
    [`${prefix}unikernelType`]: "unikraft",
    [`${prefix}hypervisor`]: "qemu",
    [`${prefix}binary`]: "/k",
    [`${prefix}mountRootfs`]: "true",
  };
  const read = readUrunc(source, "s", "annotations");
  assert.deepEqual([read?.hypervisor, read?.mountRootfs], ["qemu", true]);
  const mixed = {
    [`${prefix}unikernelType`]: base64("mirage"),
    [`${prefix}hypervisor`]: base64("hvt"),
    [`${prefix}binary`]: "/k!",
  };
  assert.throws(() => readUrunc(mixed, "s", "annotations"), /binary.*not base64/);
  assert.equal(readUrunc({ [`${prefix}hypervisor`]: "hvt" }, "s", "file"), undefined);
});

test("property: strict base64 decodes what was encoded, and nothing that does not encode back", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), (text) => assert.equal(decodeBase64(base64(text)), text)),
  );
  fc.assert(
    fc.property(fc.string(), (text) => {
      const decoded = decodeBase64(text);
      assert.ok(decoded === undefined || base64(decoded) === text);
    }),
  );
});

test("property: the edit distance is a metric, and the nearest is never farther than another", () => {
  const word = fc.string({ maxLength: 12 });
  fc.assert(
    fc.property(word, word, word, (a, b, c) => {
      assert.equal(editDistance(a, b) === 0, a === b);
      assert.equal(editDistance(a, b), editDistance(b, a));
      assert.ok(editDistance(a, c) <= editDistance(a, b) + editDistance(b, c));
    }),
  );
  fc.assert(
    fc.property(word, (key) => {
      const best = nearest(key, Object.keys(ownKeys)) ?? "";
      for (const other of Object.keys(ownKeys))
        assert.ok(editDistance(key, best) <= editDistance(key, other));
    }),
  );
});
