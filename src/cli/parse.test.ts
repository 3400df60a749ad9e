import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { TripodError } from "../spec/errors.ts";
import {
  type FlagRecord,
  type Invocation,
  type OptionsOf,
  type RawOptions,
  command,
  readOptions,
} from "./command.ts";
import { commands } from "./commands.ts";
import { runFlags } from "./flags.ts";
import { type Parsed, parse } from "./parse.ts";

const read = (line: readonly string[], env: Record<string, string> = {}): Parsed =>
  parse(line, commands, env);

function call(line: readonly string[], env: Record<string, string> = {}) {
  const parsed = read(line, env);
  assert.ok(parsed.do === "call", `${parsed.do}, not call`);
  return parsed;
}

const run = (line: readonly string[]) => {
  const { args, options } = call(["run", ...line]);
  return { args, options: readOptions(runFlags, options) };
};

const usage = (message: RegExp) => (error: unknown) =>
  error instanceof TripodError && error.code === "usage" && error.exit === 125 && message.test(error.message);

test("everything after the image goes to the workload as it is", () => {
  const { args, options } = run(["-d", "--name", "web", "image", "-d", "--name", "x", "--", "--help", "-p"]);
  assert.deepEqual(args, ["image", "-d", "--name", "x", "--", "--help", "-p"]);
  assert.equal(options.detach, true);
  assert.equal(options.name, "web");
});

test("any words of a workload survive", () => {
  fc.assert(
    fc.property(fc.array(fc.string()), (words) => {
      assert.deepEqual(run(["image", ...words]).args, ["image", ...words]);
      assert.deepEqual(call(["exec", "name", "program", ...words]).args, ["name", "program", ...words]);
    }),
  );
});

test("flags combine and repeat as docker's do", () => {
  const { options } = run([
    "-it",
    "-p",
    "80:80",
    "-p81:81",
    "--publish=82:82/udp",
    "-eA=b=c",
    "-e",
    "D",
    "-m64m",
    "i",
  ]);
  assert.equal(options.interactive && options.tty, true);
  assert.deepEqual(options.publish, ["80:80", "81:81", "82:82/udp"]);
  assert.deepEqual(options.env, ["A=b=c", "D"]);
  assert.equal(options.memory, "64m");
  assert.equal(options.detach, false);
  assert.equal(options.mode, "auto");
  assert.equal(options.monitor, undefined);
  assert.deepEqual(options.volume, []);
});

const raw = (line: string[]): RawOptions => call(line).options;

test("values are taken as getopt takes them", () => {
  assert.equal(run(["-m", "-5", "i"]).options.memory, "-5");
  assert.equal(run(["--name=", "i"]).options.name, "");
  assert.equal(run(["--name", "a", "--name", "b", "i"]).options.name, "b");
  assert.equal(run(["-itm=1g", "i"]).options.memory, "1g");
  assert.deepEqual(run(["-d", "--", "-i", "--", "x"]).args, ["-i", "--", "x"]);
  assert.deepEqual(call(["stop", "a", "-t", "3", "b", "--", "-c"]).args, ["a", "b", "-c"]);
  assert.deepEqual(run(["-", "x"]).args, ["-", "x"]);
});

test("a switch called no-… is off until it is given", () => {
  assert.equal(raw(["ps"]).has("no-trunc"), false);
  assert.equal(raw(["ps", "--no-trunc"]).get("no-trunc"), true);
  assert.equal(raw(["stats", "--no-stream"]).get("no-stream"), true);
});

test("global flags stand before or after the command; the nearer wins, and both over the environment", () => {
  assert.equal(call(["--root", "/a", "ps"]).globals.root, "/a");
  assert.equal(call(["ps", "--root", "/b"]).globals.root, "/b");
  assert.equal(call(["--root=/a", "ps", "--root=/b"]).globals.root, "/b");
  assert.equal(call(["ps"], { TRIPOD_ROOT: "/e", TRIPOD_CONFIG: "/c" }).globals.root, "/e");
  assert.equal(call(["ps"], { TRIPOD_CONFIG: "/c" }).globals.config, "/c");
  assert.equal(call(["ps", "--root", "/b"], { TRIPOD_ROOT: "/e" }).globals.root, "/b");
  assert.equal(call(["--debug", "ps"]).globals.debug, true);
  assert.deepEqual(run(["image", "--root", "/theirs"]).args, ["image", "--root", "/theirs"]);
});

test("an empty root or configuration is an error that names where it was given, not the default", () => {
  assert.throws(() => call(["--root", "", "ps"]), /^TripodError: --root is empty$/);
  assert.throws(() => call(["ps", "--root="]), /--root is empty/);
  assert.throws(() => call(["ps"], { TRIPOD_ROOT: "" }), /TRIPOD_ROOT is empty/);
  assert.throws(() => call(["ps"], { TRIPOD_CONFIG: "" }), /TRIPOD_CONFIG is empty/);
  assert.equal(call(["ps", "--root", "/b"], { TRIPOD_ROOT: "" }).globals.root, "/b");
  assert.equal(read(["--help"], { TRIPOD_ROOT: "" }).do, "help");
});

const firstLine = (line: string[]): string => {
  const parsed = read(line);
  return parsed.do === "help" ? (parsed.text.split("\n", 1)[0] ?? "") : parsed.do;
};

test("help and version come in every usual form", () => {
  for (const line of [[], ["--help"], ["-h"], ["help"]])
    assert.equal(firstLine(line), "Usage: tripod [FLAG…] COMMAND …");
  for (const line of [
    ["run", "--help"],
    ["run", "-h"],
    ["help", "run"],
    ["--help", "run"],
  ])
    assert.equal(firstLine(line), "Usage: tripod run [FLAG…] IMAGE [ARG…]");
  assert.equal(firstLine(["--version"]), "version");
});

test("what cannot be understood is a usage error that names it", () => {
  assert.throws(() => read(["sp"]), usage(/no command "sp"/));
  assert.throws(() => read(["run"]), usage(/IMAGE is missing/));
  assert.throws(() => read(["exec", "name"]), usage(/PROGRAM is missing/));
  assert.throws(() => read(["logs", "a", "b"]), usage(/too many, "b"/));
  assert.throws(() => read(["run", "--mode", "vm", "i"]), usage(/--mode "vm" is not one of auto, container/));
  assert.throws(() => read(["run", "--monitr", "hvt", "i"]), usage(/no flag --monitr$/));
  assert.throws(() => read(["ps", "--name"]), usage(/--name/));
  assert.throws(() => read(["run", "--name"]), usage(/--name wants a value, NAME/));
  assert.throws(() => read(["run", "-d=no", "i"]), usage(/no flag -=/));
  assert.throws(() => read(["run", "--detach=no", "i"]), usage(/--detach takes no value, not "no"/));
  assert.throws(() => read(["ps", "-ax"]), usage(/no flag -x/));
  assert.throws(() => read(["--rot", "/x", "ps"]), usage(/--rot/));
});

test("hostile words never do worse than a usage error", () => {
  const word = fc.oneof(
    fc.string(),
    fc.constantFrom("run", "ps", "--", "-", "-it", "--root", "__proto__", "constructor"),
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 8 }), (words) => {
      try {
        read(words);
      } catch (error) {
        assert.ok(error instanceof TripodError && error.code === "usage", String(error));
      }
    }),
  );
});

test("every command has a summary, an example that begins with its name, and flags that do not clash", () => {
  for (const { name, summary, examples, flags, args } of commands) {
    assert.ok(summary.length > 10, name);
    assert.ok(
      examples.length > 0 && examples.every(({ command: line }) => line.includes(`tripod ${name}`)),
      name,
    );
    const letters = flags.flatMap(({ short }) => (short === undefined ? [] : [short]));
    assert.equal(new Set(letters).size, letters.length, name);
    assert.ok(
      args.slice(0, -1).every((argument) => !("many" in argument)),
      name,
    );
  }
  assert.equal(new Set(commands.map(({ name }) => name)).size, commands.length);
});

test("a handler gets the options that its flags promise", async () => {
  const seen: unknown[] = [];
  const flags = [
    { name: "dry-run", help: "" },
    { name: "size", value: "N", fallback: "1", help: "" },
    { name: "list", value: "X", many: true, help: "" },
  ] as const satisfies readonly FlagRecord[];
  const made = command({
    name: "try",
    group: "machine",
    summary: "",
    args: [],
    flags,
    examples: [],
    load: () =>
      Promise.resolve({
        handle: ({ options }: Invocation<OptionsOf<typeof flags>>) => (
          seen.push(options),
          Promise.resolve(options.list.length)
        ),
      }),
  });
  const parsed = parse(["try", "--dry-run", "--list", "a", "--list", "b"], [made], {});
  assert.ok(parsed.do === "call");
  const { capturedTerminal } = await import("./testing.ts");
  const status = await parsed.command.run({ ...parsed, terminal: capturedTerminal() });
  assert.equal(status, 2);
  assert.deepEqual(seen, [{ dryRun: true, size: "1", list: ["a", "b"] }]);
});
