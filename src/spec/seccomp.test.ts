import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type SeccompProfile, compileSeccomp } from "./seccomp.ts";
import { type SyscallName, syscallNumbers } from "./syscalls.ts";
import type { Arch } from "./values.ts";

const names = Object.keys(syscallNumbers) as SyscallName[];
const auditArch = { amd64: 0xc000003e, arm64: 0xc00000b7 } as const;
const kill = 0x80000000;
const allow = 0x7fff0000;
const enosys = 0x00050026;

interface Call {
  readonly arch: number;
  readonly nr: number;
  readonly args?: readonly number[];
}

/** Runs a classic BPF program as the kernel would; fails on what the kernel's checker refuses. */
function interpret(program: string, call: Call): number {
  const bytes = Buffer.from(program, "base64");
  assert.equal(bytes.length % 8, 0);
  const count = bytes.length / 8;
  assert.ok(count > 0 && count <= 4096);
  const data = Buffer.alloc(64);
  data.writeUInt32LE(call.nr >>> 0, 0);
  data.writeUInt32LE(call.arch >>> 0, 4);
  for (const [index, value] of (call.args ?? []).entries()) data.writeUInt32LE(value >>> 0, 16 + 8 * index);
  let accumulator = 0;
  for (let pc = 0; pc < count; pc++) {
    const [code, jt, jf, k] = [
      bytes.readUInt16LE(pc * 8),
      bytes.readUInt8(pc * 8 + 2),
      bytes.readUInt8(pc * 8 + 3),
      bytes.readUInt32LE(pc * 8 + 4),
    ];
    switch (code) {
      case 0x20:
        accumulator = data.readUInt32LE(k);
        break;
      case 0x05:
        pc += k;
        break;
      case 0x15:
        pc += accumulator === k ? jt : jf;
        break;
      case 0x35:
        pc += accumulator >= k ? jt : jf;
        break;
      case 0x54:
        accumulator = (accumulator & k) >>> 0;
        break;
      case 0x06:
        return k;
      default:
        assert.fail(`unknown instruction ${code}`);
    }
  }
  return assert.fail("the program ran off its end");
}

const profiles = fc.tuple(fc.subarray(names), fc.func(fc.nat(9))).map(([chosen, sort]): SeccompProfile => ({
  allow: chosen.filter((name) => sort(name) > 2),
  refuse: chosen.filter((name) => sort(name) === 1 || sort(name) === 2),
  allowIf: chosen
    .filter((name) => sort(name) === 0)
    .map((name) => ({ name, argument: 2, mask: 0xff00, equals: 0x1200 })),
}));

for (const arch of ["amd64", "arm64"] as const satisfies readonly Arch[])
  test(`every system call of ${arch} is answered as the profile says`, () => {
    fc.assert(
      fc.property(profiles, (profile) => {
        const program = compileSeccomp(profile, arch);
        for (const name of names) {
          const nr = syscallNumbers[name][arch === "amd64" ? 0 : 1];
          if (nr < 0) continue;
          const conditional = profile.allowIf?.some((rule) => rule.name === name) === true;
          const wanted = profile.allow.includes(name)
            ? allow
            : profile.refuse?.includes(name) === true
              ? enosys
              : kill;
          const call = { arch: auditArch[arch], nr };
          assert.equal(
            interpret(program, { ...call, args: [0, 0, 0x3412ff] }),
            conditional ? allow : wanted,
            name,
          );
          assert.equal(
            interpret(program, { ...call, args: [0, 0, 0xff13ff] }),
            conditional ? kill : wanted,
            name,
          );
        }
      }),
      { numRuns: 60 },
    );
  });

test("numbers that no table knows, x32 calls and other architectures are killed, whatever the profile allows", () => {
  const program = compileSeccomp({ allow: names }, "amd64");
  const known = new Set(names.map((name) => syscallNumbers[name][0] as number));
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 0xffffffff }),
      fc.integer({ min: 0, max: 0xffffffff }),
      (nr, arch) => {
        assert.equal(interpret(program, { arch: auditArch.amd64, nr }), known.has(nr) ? allow : kill);
        assert.equal(interpret(program, { arch: auditArch.amd64, nr: (nr | 0x40000000) >>> 0 }), kill);
        if (arch !== auditArch.amd64) assert.equal(interpret(program, { arch, nr: nr % 450 }), kill);
      },
    ),
  );
});

test("neighbouring calls of one kind share a segment, so that the program stays short", () => {
  const short = Buffer.from(compileSeccomp({ allow: ["read", "write", "open", "close"] }, "amd64"), "base64");
  assert.ok(short.length / 8 <= 10, `${short.length / 8} instructions`);
});

test("a name on two lists is refused", () => {
  assert.throws(() => compileSeccomp({ allow: ["read"], refuse: ["read"] }, "amd64"), TypeError);
});

test("no two calls of an architecture share a number", () => {
  for (const column of [0, 1] as const) {
    const numbers = names
      .map((name) => syscallNumbers[name][column] as number)
      .filter((number) => number >= 0);
    assert.equal(new Set(numbers).size, numbers.length);
  }
});
