/**
 * opencontainers/runtime-tools' validation programs as a difference: what runc passes on this machine, `tripod-runtime` (which hands containers to runc) must
 * pass. What neither passes is the machine's, or a newer specification's, affair. Started by `script/test-conformance`.
 */

import { chmodSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Outcome, readdirSafe, runToEnd, tree } from "../support/tripod.ts";

/** Some programs race with what they start (`killsig` with a shell's `trap`): only a difference that comes again each time is one. */
const tries = 4;
const timeoutMs = 120_000;

interface Verdict {
  readonly status: number | null;
  /** Descriptions of the tests that passed, each with how often it did. */
  readonly passed: ReadonlyMap<string, number>;
  readonly failed: number;
}

interface Subject {
  readonly name: string;
  readonly root: string;
  /** The programs take one path and no arguments. */
  readonly wrapper: string;
}

function subject(work: string, name: string, command: readonly string[]): Subject {
  const root = join(work, name, "root");
  const wrapper = join(work, name, name);
  mkdirSync(root, { recursive: true });
  writeFileSync(wrapper, `#!/bin/sh\nexec ${[...command, "--root", root].join(" ")} "$@"\n`);
  chmodSync(wrapper, 0o755);
  return { name, root, wrapper };
}

/** TAP of one program. Ids and numbers differ from run to run. */
function verdictOf({ code, stdout }: Outcome): Verdict {
  const passed = new Map<string, number>();
  let failed = 0;
  for (const line of stdout.split("\n")) {
    const [, not, said = ""] = /^(not )?ok \d+(?: - )?(.*)$/.exec(line) ?? [];
    const what = said.replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, "ID").replace(/\d+/g, "N");
    if (not !== undefined) failed++;
    else if (/^ok \d/.test(line)) passed.set(what, (passed.get(what) ?? 0) + 1);
  }
  return { status: code, passed, failed };
}

async function judge(work: string, name: string, { wrapper, root }: Subject): Promise<Verdict> {
  const temporary = join(work, "tmp");
  mkdirSync(temporary, { recursive: true });
  // They expect to stand where runtimetest and the root file system lie. What they mount and leave goes with a mount namespace of their own.
  const program = join(work, "programs", name);
  const outcome = await runToEnd(
    "unshare",
    ["--mount", "--propagation", "private", "env", "-C", join(work, "source"), program],
    { timeoutMs, env: { RUNTIME: wrapper, TMPDIR: temporary } },
  ).catch((error: unknown): Outcome => ({ code: null, signal: null, stdout: "", stderr: String(error) }));
  // A program that fails leaves its container behind, whose cgroup the next one would find.
  for (const id of readdirSafe(root).filter((entry) => !entry.startsWith(".")))
    await runToEnd(wrapper, ["delete", "--force", id]);
  rmSync(temporary, { recursive: true, force: true });
  return verdictOf(outcome);
}

/** What runc passed more often than we did. */
function missing(runc: Verdict, ours: Verdict): string[] {
  const tests = [...runc.passed].flatMap(([what, times]) => {
    const own = ours.passed.get(what) ?? 0;
    return own < times
      ? [`${what || "a test without a name"}${times > 1 ? ` (${own} of ${times})` : ""}`]
      : [];
  });
  return runc.status === 0 && ours.status !== 0 ? [...tests, `exit status ${String(ours.status)}`] : tests;
}

const total = (verdict: Verdict): number =>
  [...verdict.passed.values()].reduce((sum, times) => sum + times, 0);
const isClean = ({ status, failed }: Verdict): boolean => status === 0 && failed === 0;
const tell = (verdict: Verdict): string =>
  `${total(verdict)} ok, ${verdict.failed} not${verdict.status === 0 ? "" : `, status ${String(verdict.status)}`}`;

async function main([work = "", ...wanted]: readonly string[]): Promise<number> {
  const subjects = [
    subject(work, "runc", ["runc"]),
    subject(work, "tripod", [join(tree, "bin/tripod-runtime"), "--tripod-root", join(work, "tripod")]),
  ] as const;
  const sums = { programs: 0, runc: 0, ours: 0, tests: 0, own: 0 };
  let worse = 0;
  for (const program of readdirSync(join(work, "programs")).filter(
    (name) => wanted.length === 0 || wanted.includes(name),
  )) {
    let lacking: readonly string[] = ["not tried"];
    let verdicts: readonly [Verdict, Verdict] | undefined;
    for (let again = 0; again < tries && lacking.length > 0; again++) {
      verdicts = [await judge(work, program, subjects[0]), await judge(work, program, subjects[1])];
      lacking = missing(...verdicts);
    }
    if (verdicts === undefined) continue;
    const [runc, ours] = verdicts;
    sums.programs++;
    sums.runc += Number(isClean(runc));
    sums.ours += Number(isClean(ours));
    sums.tests += total(runc);
    sums.own += total(ours);
    const mark = lacking.length > 0 ? "LESS" : total(ours) > total(runc) ? "more" : "same";
    process.stdout.write(`${mark}  ${program}: runc ${tell(runc)}; tripod-runtime ${tell(ours)}\n`);
    for (const what of lacking) process.stdout.write(`      not passed: ${what}\n`);
    if (lacking.length > 0) worse++;
  }
  process.stdout.write(
    `${sums.programs} programs: runc passes ${sums.runc} whole (${sums.tests} tests), tripod-runtime ${sums.ours} (${sums.own} tests); ` +
      `${worse} in which runc passes what tripod-runtime does not\n`,
  );
  return worse === 0 && sums.programs > 0 ? 0 : 1;
}

process.exit(await main(process.argv.slice(2)));
