/**
 * A hostile program in each monitor's place, by the operator's own configuration: the same plan, the same confinement. What it reaches is checked here; `node
 * tests/integration/confinement.test.ts --table` prints the table of docs/SECURITY.md.
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type Lab, makeLab, tree } from "../support/tripod.ts";

const monitors = ["spt", "hvt", "qemu"] as const;

/** What each attempt may come to; `killed` is the seccomp filter's answer. Everything else is a hole. */
const refused = /^(killed|refused E\w+)$/;
const expectations: Readonly<Record<string, RegExp>> = {
  identity: /^(killed|uid 1[89]\d{8} gid 1[89]\d{8} groups 0)$/,
  capabilities: /^(killed|effective 0 permitted 0 bounding 0)$/,
  "no-new-privs": /^(killed|1)$/,
  // Standard streams, and the few that the monitor was given; never one of ours.
  "open-fds": /^(killed|0 1 2( [3-9])*)$/,
  // Its own files and mount points.
  "root-entries": /^(killed|empty|refused E\w+|[\w .-]+)$/,
  // A socket in an empty network namespace reaches nobody; making one is no escape by itself.
  "inet-socket": /^(killed|refused E\w+|ALLOWED)$/,
  "unix-socket": /^(killed|refused E\w+|ALLOWED)$/,
  "netlink-socket": /^(killed|refused E\w+|ALLOWED)$/,
  // In a pid namespace of its own it is alone: there is nobody to kill.
  "kill-everything": refused,
  fork: /^(killed|refused E\w+|ALLOWED)$/,
  "open-kvm": refused,
};

/** Builds the probe once; musl, static, as a monitor of ours would be. */
function probe(lab: Lab): string {
  const target = process.env["CARGO_TARGET_DIR"] ?? join(tree, "native/target");
  execFileSync(
    "cargo",
    ["build", "-q", "--release", "--locked", "-p", "hostile-probe", "--target", "x86_64-unknown-linux-musl"],
    {
      cwd: join(tree, "native"),
      env: { ...process.env, CARGO_TARGET_DIR: target },
      timeout: 300_000,
    },
  );
  const path = join(lab.root, "hostile-probe");
  copyFileSync(join(target, "x86_64-unknown-linux-musl/release/hostile-probe"), path);
  return path;
}

async function attempt(lab: Lab, monitor: string, name: string): Promise<string> {
  const outcome = await lab.tripod(
    [
      "--config",
      join(lab.root, "config.toml"),
      "run",
      "--rm",
      "--network",
      "none",
      "--mode",
      "unikernel",
      "--monitor",
      monitor,
      "httpreply",
      `attempt=${name}`,
    ],
    { timeoutMs: 30_000 },
  );
  if (outcome.code === 159) return "killed";
  assert.equal(outcome.code, 0, `${monitor}: ${name}: ${outcome.stderr}`);
  return outcome.stdout.trim();
}

export async function confinementTable(lab: Lab): Promise<Map<string, Record<string, string>>> {
  const path = probe(lab);
  mkdirSync(lab.root, { recursive: true });
  writeFileSync(
    join(lab.root, "config.toml"),
    monitors.map((kind) => `[monitors.${kind}]\npath = "${path}"\n`).join("\n"),
  );
  const attempts = execFileSync(path, { encoding: "utf8", timeout: 10_000 }).trim().split("\n");
  const table = new Map<string, Record<string, string>>();
  for (const name of attempts) {
    const row: Record<string, string> = {};
    for (const monitor of monitors) row[monitor] = await attempt(lab, monitor, name);
    table.set(name, row);
  }
  return table;
}

test("a hostile program in a monitor's place reaches nothing", { timeout: 600_000 }, async (t) => {
  const lab = makeLab(t);
  const table = await confinementTable(lab);
  for (const [name, row] of table)
    for (const [monitor, result] of Object.entries(row))
      assert.match(result, expectations[name] ?? refused, `${monitor}: ${name}: ${result}`);
  t.diagnostic(
    [...table]
      .map(([name, row]) => `| ${name} | ${monitors.map((monitor) => row[monitor]).join(" | ")} |`)
      .join("\n"),
  );
});
