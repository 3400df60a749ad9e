import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { TripodError } from "../spec/errors.ts";
import { dualStack, sptOffer } from "../spec/fixtures.ts";
import { hostPath } from "../spec/paths.ts";
import type { GuestKind, GuestRoot } from "../spec/values.ts";
import type { GuestInput } from "./guest.ts";
import { guestDriver } from "./index.ts";
import {
  linuxArguments,
  linuxWords,
  mirageWords,
  rumprunWords,
  shellWords,
  unikraftWords,
} from "./parsers.ts";

const { bootLine: _template, ...plainOffer } = sptOffer;
const initrd: GuestRoot = { kind: "initrd", path: hostPath("/initrd") };

function inputFor(guest: GuestKind, change: Partial<GuestInput>): GuestInput {
  return {
    offer: { ...plainOffer, guest },
    kernel: hostPath("/kernel"),
    root: guest === "hermit" || guest === "linux" ? initrd : { kind: "none" },
    args: [],
    env: [],
    hostname: "web",
    monitor: "qemu",
    net: dualStack,
    netDevices: guest === "mirage" || guest === "rumprun" ? ["service"] : [],
    blockDevices: [],
    disks: [],
    mounts: [],
    user: { uid: 0, gid: 0 },
    cwd: "/",
    ownsTree: false,
    ...change,
  };
}

function lineOf(guest: GuestKind, change: Partial<GuestInput>): string {
  const driver = guestDriver(guest);
  assert.ok(driver !== undefined);
  return driver.boot(inputFor(guest, change)).bootLine;
}

const after = (words: readonly string[], mark: string): readonly string[] => {
  const at = words.indexOf(mark);
  return at < 0 ? [] : words.slice(at + 1);
};
const cmdlineOf = (line: string): string => {
  const value: unknown = JSON.parse(line);
  assert.ok(typeof value === "object" && value !== null && "cmdline" in value);
  return String(value.cmdline);
};

/** By guest: the arguments that its parsers give to the program. Linux's first is the program itself. */
const readers: Readonly<Record<string, (line: string) => readonly (readonly string[])[]>> = {
  unikraft: (line) => [true, false].map((knows) => after(unikraftWords(line, knows), "--")),
  mirage: (line) => [mirageWords(line).slice(2)],
  hermit: (line) => [after(shellWords(line), "--")],
  rumprun: (line) => [rumprunWords(cmdlineOf(line))],
};

/** Text in which everything that a parser could stumble over is frequent. */
const hard = fc.constantFrom(..." \t\n\r\0'\"\\=]#-aà€𝄞\u00a0\ud800\u007f".split(/(?:)/u));
const word = fc.oneof(
  fc.constantFrom("--", "-", "]"),
  fc.string({ unit: hard, maxLength: 8 }),
  fc.string({ maxLength: 12 }),
);

/** The line of these, or undefined when it was refused as it must be: `usage`, naming an argument, a variable or the line. */
function spoken(speak: () => string): string | undefined {
  try {
    return speak();
  } catch (error) {
    assert.ok(error instanceof TripodError, String(error));
    assert.equal(error.code, "usage");
    assert.match(error.message, /argument \d+|the variable "|the program|boot line|the first|arguments/);
    assert.notEqual(error.hint, "");
    return undefined;
  }
}

for (const [guest, read] of Object.entries(readers))
  test(`property: a ${guest} guest reads the arguments as they were given, or they are refused`, () => {
    fc.assert(
      fc.property(fc.array(word, { maxLength: 4 }), (args) => {
        const line = spoken(() => lineOf(guest as GuestKind, { args }));
        if (line === undefined) return;
        for (const words of read(line)) assert.deepEqual(words, args);
      }),
      { numRuns: 2000 },
    );
  });

test("property: Linux hands the arguments and variables on as they were given, or they are refused", () => {
  const entry = fc
    .tuple(fc.constantFrom("A", "B_2", "http_proxy"), word)
    .map(([name, text]) => `${name}=${text}`);
  fc.assert(
    fc.property(fc.array(word, { maxLength: 4 }), fc.array(entry, { maxLength: 3 }), (args, env) => {
      const line = spoken(() => lineOf("linux", { args: ["/init", ...args], env }));
      if (line === undefined) return;
      const words = linuxWords(line);
      const mark = words.indexOf("--");
      assert.deepEqual(linuxArguments(line), args);
      const before = args.length === 0 ? words : words.slice(0, mark);
      assert.deepEqual(
        before.filter((each) => /^(A|B_2|http_proxy)=/.test(each)),
        env,
      );
      assert.equal(before.at(-1), "rdinit=/init");
    }),
    { numRuns: 2000 },
  );
});

test("property: Unikraft's variables come out as they went in, in their list, or are refused", () => {
  fc.assert(
    fc.property(fc.array(word, { minLength: 1, maxLength: 3 }), (values) => {
      const env = values.map((value, index) => `V${index}=${value}`);
      const line = spoken(() => lineOf("unikraft", { env }));
      if (line === undefined) return;
      for (const knows of [true, false]) {
        const words = after(unikraftWords(line, knows), "env.vars=[");
        assert.deepEqual(
          words.slice(
            0,
            words.findIndex((each) => each.endsWith("]")),
          ),
          env,
        );
      }
    }),
    { numRuns: 1000 },
  );
});

test("property: Rumprun's variables stand in its object as they were given", () => {
  fc.assert(
    fc.property(word, (value) => {
      const line = spoken(() => lineOf("rumprun", { env: [`V=${value}`] }));
      if (line === undefined) return;
      const read: unknown = JSON.parse(line);
      assert.ok(typeof read === "object" && read !== null && "env" in read);
      assert.equal(read.env, `V=${value}`);
    }),
  );
});

const refuses = (guest: GuestKind, change: Partial<GuestInput>, message: RegExp, code = "usage"): void => {
  assert.throws(
    () => lineOf(guest, change),
    (error) => error instanceof TripodError && error.code === code && message.test(error.message),
    String(message),
  );
};

test("what a guest of a kind cannot be given is refused when it was asked for, and left out when only the image has it", () => {
  const wished = { args: ["-v"], env: ["A=1"] };
  refuses("mewz", { args: ["-v"], wished: { ...wished, env: [] } }, /mewz guests take no arguments/);
  refuses("mirage", { env: ["A=1"], wished }, /mirage guests take no variables, yet A was given/);
  refuses("hermit", { env: ["A=1"], wished }, /hermit guests take no variables/);
  const old = { ...plainOffer, guest: "unikraft", version: "0.14" } as const;
  refuses("unikraft", { offer: old, env: ["A=1"], wished }, /"A" cannot be given to Unikraft 0\.14/);
  assert.doesNotMatch(lineOf("mewz", { args: ["/hello.wasm"], env: ["PATH=/bin"] }), /hello|PATH/);
  assert.doesNotMatch(lineOf("mirage", { env: ["PATH=/bin"] }), /PATH/);
});

test("an image's own template says what it says, whatever the kind could carry", () => {
  const offer = { ...plainOffer, guest: "mewz", bootLine: "ip={ipv4} {args}" } as const;
  assert.equal(
    lineOf("mewz", { offer, args: ["x"], wished: { args: ["x"], env: ["A=1"] } }),
    "ip=10.128.0.5/20 x",
  );
});

test("more than a guest reads is refused, not cut", () => {
  const many = Array.from({ length: 60 }, (_, index) => `${index}`);
  refuses("unikraft", { args: many }, /boot line of \d+ words is cut by the guest, which reads 60/);
  refuses("linux", { args: ["/init", ...many] }, /60 arguments is more than Linux takes, 31/);
  refuses(
    "linux",
    { args: ["/init"], env: many.map((name) => `V${name}=`) },
    /60 variables is more than Linux takes/,
  );
  refuses("linux", { args: ["/init", "x".repeat(4000)] }, /boot line is \d+ bytes long/);
});

test("Linux: no program, a name that the kernel keeps to itself, and what urunit would join are refused", () => {
  refuses("linux", { args: [] }, /names no program to run/);
  refuses("linux", { args: ["/init", "--", "-v"] }, /argument 1 is --, at which Linux stops/);
  refuses("linux", { args: ["/init"], env: ["init=/evil"] }, /the variable "init" has a name/);
  refuses("linux", { args: ["/init"], env: ["a.b=1"] }, /the variable "a\.b" has a name/);
  refuses("linux", { args: ["/urunit", "/app", "'a b"] }, /argument 2 begins with '/);
  refuses("linux", { args: ["/urunit", "/app"], env: ["A=1\n2"] }, /the variable "A" has a line break/);
  refuses("linux", { args: ["/urunit", "/app"], cwd: "srv" }, /working directory/);
  const mounts = [{ disk: { name: "vol0", path: hostPath("/v"), readonly: false }, at: "/srv" }];
  refuses("unikraft", { mounts }, /unikraft guests have no disks, yet 1 would be needed/, "no-fit");
  refuses("linux", { args: ["/sbin/init"], mounts }, /no first process that mounts disks/, "no-fit");
});

test("loaders that copy plain ASCII only are not given anything else", () => {
  refuses(
    "linux",
    { args: ["/init", "grün"], monitor: "firecracker" },
    /"grün" is not plain ASCII, and firecracker/,
  );
  assert.match(lineOf("linux", { args: ["/init", "grün"] }), /grün/);
});

test("Unikraft has one network parameter for all devices, and a list for several", () => {
  const [first] = dualStack.interfaces;
  assert.ok(first !== undefined);
  const net = {
    ...dualStack,
    interfaces: [
      first,
      { ...first, name: "eth1", addresses: [{ family: "ipv4", address: "10.9.0.2", prefix: 30 }] },
    ],
  } as const;
  assert.match(
    lineOf("unikraft", { net }),
    /netdev\.ip=\[ 10\.128\.0\.5\/20:10\.128\.0\.1:10\.128\.0\.1 10\.9\.0\.2\/30 \]/,
  );
  refuses("linux", { net, args: ["/init"] }, /2 interfaces, linux guests have at most 1/, "network-failed");
  assert.match(
    lineOf("mirage", { net, netDevices: ["service", "inner"] }),
    /^--ipv4=10\.128\.0\.5\/20 --ipv4-gateway=10\.128\.0\.1 --inner-ipv4=10\.9\.0\.2\/30$/,
  );
});
