import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decodeBase64, ownKeys, readOwn, readUrunc, readVaccel } from "./annotations.ts";
import { TripodError } from "./errors.ts";
import { editDistance, nearest } from "./nearest.ts";

const base64 = (text: string): string => Buffer.from(text).toString("base64");
const prefix = "com.urunc.unikernel.";
const hasControl = (text: string): boolean =>
  [...text].some((character) => character < " " || character === "\u007f");

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
    [{ ...base, "dev.tripod.kernel": "/a/../../b" }, /kernel: .* beneath the image's root/, undefined],
    [{ ...base, "dev.tripod.disk": "/d" }, /disk: needs dev\.tripod\.disk-mount-point/, undefined],
    [{ ...base, "dev.tripod.disk-mount-point": "/" }, /of no use without dev\.tripod\.disk/, undefined],
    [{ ...base, "dev.tripod.mount-rootfs": "yes" }, /neither true nor false/, undefined],
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
  const text = fc
    .string({ minLength: 1, maxLength: 60 })
    .filter((value) => !/^-|\.\./.test(value) && /[^./]/.test(value) && !hasControl(value));
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

const complete = { unikernelType: "linux", hypervisor: "qemu", binary: "/k" };
const uruncSource = (values: Readonly<Record<string, string>>) =>
  Object.fromEntries(Object.entries(values).map(([key, value]) => [prefix + key, value]));

/** What nobody should write and somebody will. */
const hostile: readonly string[] = [
  " ",
  "a b",
  "it's",
  '"q"',
  "a\nb",
  "a\0b",
  "..",
  "../../etc/passwd",
  "/a/../../b",
  "-append",
  "/",
  ".",
  "\ud800",
  "x".repeat(1_000_000),
  "=",
  "{args}",
  ",",
];

test("whatever stands in an annotation is read, or refused with the key's name", () => {
  const optional =
    "cmdline unikernelVersion initrd block blkMntPoint mountRootfs useDMBlock solo5NetDev solo5BlkDev";
  const suffixes = [...Object.keys(complete), ...optional.split(" ")];
  for (const suffix of suffixes)
    for (const value of hostile)
      for (const kind of ["annotations", "file"] as const) {
        const values = { ...complete, block: "/d", blkMntPoint: "/m", [suffix]: value };
        try {
          const read = readUrunc(uruncSource(values), "the label", kind);
          assert.ok(read !== undefined, suffix);
          for (const path of [read.binary, read.initrd, read.disk?.path])
            assert.ok(path === undefined || !(/\.\.|^-/.test(path) || hasControl(path)), suffix);
        } catch (error) {
          assert.ok(error instanceof TripodError, String(error));
          assert.equal(error.code, "annotation-invalid");
          assert.match(error.message, new RegExp(`com\\.urunc\\.unikernel\\.${suffix}\\b`));
          assert.ok(error.message.length < 500);
        }
      }
});

test("property: any values of ours are read, or refused with a key's name", () => {
  const value = fc.oneof(fc.constantFrom(...hostile.filter((text) => text.length < 1000)), fc.string());
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom(...Object.keys(ownKeys)), value), (given) => {
      const source = {
        "dev.tripod.mode": "unikernel",
        "dev.tripod.guest": "linux",
        "dev.tripod.monitors": "qemu",
        "dev.tripod.kernel": "/k",
        ...given,
      };
      try {
        readOwn(source, "the label");
      } catch (error) {
        assert.ok(error instanceof TripodError, String(error));
        assert.match(error.message, /^the label: dev\.tripod\./);
      }
    }),
  );
});

const read = (values: Readonly<Record<string, string>>) =>
  readUrunc(uruncSource({ ...complete, ...values }), "s", "annotations");

test("a disk needs its mount point, and true is true in Go's spellings only", () => {
  assert.throws(() => read({ block: "/d" }), /unikernel\.block: needs com\.urunc\.unikernel\.blkMntPoint/);
  assert.deepEqual(read({ block: "/d", blkMntPoint: "data/./x/" })?.disk, {
    path: "/d",
    mountPoint: "/data/x",
  });
  assert.equal(read({ blkMntPoint: "/x" })?.disk, undefined);
  assert.throws(() => read({ mountRootfs: "yes" }), /mountRootfs: "yes" is neither/);
  const old = (useDMBlock: string) => read({ useDMBlock })?.mountRootfs;
  assert.deepEqual(["true", "", "perhaps", "false", "0"].map(old), [true, true, true, false, false]);
  assert.equal(read({ mountRootfs: "F", useDMBlock: "true" })?.mountRootfs, false);
});

const accelerator = (vAccel: string, RPCAddress: string) => readVaccel(uruncSource({ vAccel, RPCAddress }));

test("an accelerator's address has one of two forms", () => {
  assert.deepEqual(accelerator("vsock", "vsock://2:2048"), { port: 2048 });
  assert.deepEqual(accelerator(base64("vsock"), base64("vsock://2:2048")), { port: 2048 });
  assert.deepEqual(accelerator("vsock", "unix:///run/vaccel/vaccel.sock_2048"), {
    port: 2048,
    socketDir: "/run/vaccel",
  });
  assert.equal(readVaccel({}), undefined);
  assert.throws(() => accelerator("tcp", "vsock://2:1"), /vAccel: "tcp" is not known/);
  for (const address of [
    "",
    "vsock://3:1",
    "vsock://2:99999999999",
    "unix:///../etc/vaccel.sock_1",
    "unix://run/vaccel.sock_1",
  ])
    assert.throws(() => accelerator("vsock", address), /RPCAddress/, address);
});
