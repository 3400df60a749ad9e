import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { commands } from "./commands.ts";
import { bashCompletion } from "./completion.ts";
import { commandHelp, programHelp, wrap } from "./help.ts";
import { runProgram } from "../host/process.ts";

const golden = join(import.meta.dirname, "golden", "help.txt");

test("the help of every command is as committed (UPDATE_GOLDEN=1 writes it anew)", () => {
  const text = [programHelp(commands), ...commands.map(commandHelp)].join(`\n${"=".repeat(100)}\n`);
  if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(golden, text);
  assert.equal(text, readFileSync(golden, "utf8"));
});

test("no line of help is wider than a hundred columns, examples apart", () => {
  for (const line of [programHelp(commands), ...commands.map(commandHelp)].join("\n").split("\n"))
    assert.ok(line.length <= 102 || line.startsWith("  tripod"), line);
});

test("wrapping keeps every word", () => {
  const text = "a bb ccc dddd eeeee ffffff averyverylongword g";
  assert.equal(wrap(text, 8).join(" "), text);
  assert.deepEqual(wrap("aa bb cc", 5), ["aa bb", "cc"]);
});

const words = async (line: readonly string[]): Promise<string[]> => {
  const script = `${bashCompletion(commands)}
    COMP_WORDS=(${line.map((word) => `'${word}'`).join(" ")}) COMP_CWORD=${line.length - 1}
    _tripod; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const result = await runProgram("/bin/bash", ["--norc", "-c", script], { deadlineMs: 10_000 });
  assert.equal(result.stderr, "");
  return result.stdout.trim().split("\n");
};

test("bash reads the completion, and it completes commands, flags and choices", async () => {
  assert.deepEqual(await words(["tripod", "exp"]), ["explain"]);
  assert.deepEqual(await words(["tripod", "run", "--mon"]), ["--monitor"]);
  assert.deepEqual(await words(["tripod", "run", "--monitor", "q"]), ["qemu"]);
});
