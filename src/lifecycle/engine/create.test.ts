/** The brain's half of `create` with a warden that says yes to everything: what it would have been told to do, for bundles of every kind. */

import assert from "node:assert/strict";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Duplex, duplexPair } from "node:stream";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { loadConfig } from "../../host/config-file.ts";
import { gatherFacts } from "../../host/facts/facts.ts";
import type { CreateRequest } from "../../spec/brain.ts";
import { changed, hostileText } from "../../spec/engine-config-fixtures.ts";
import { dualStack } from "../../spec/fixtures.ts";
import { hostPath } from "../../spec/paths.ts";
import type { Plan, Step } from "../../spec/plan.ts";
import { type Context, installationTree, programsOf, rootsOf } from "../context.ts";
import { converse } from "./create.ts";

type Spawn = Extract<Step, { do: "spawn" }>;

interface Told {
  readonly steps: readonly Step[];
  readonly failed?: string;
  readonly delegated?: string;
}

/** One answer for each line that the runtime would carry to the warden. */
interface Line {
  readonly id?: number;
  readonly op?: "prepare" | "launch";
  readonly plan?: Plan;
  readonly failed?: { readonly message: string; readonly hint?: string };
  readonly delegate?: { readonly program: string };
}

/** Readline would end lines at U+2028 too, which JSON leaves as it is. */
async function* linesOf(stream: Duplex): AsyncGenerator<Line> {
  let rest = "";
  for await (const chunk of stream.setEncoding("utf8")) {
    const lines = (rest + String(chunk)).split("\n");
    rest = lines.pop() ?? "";
    for (const text of lines) yield JSON.parse(text) as Line;
  }
}

class Lab {
  readonly dir = mkdtempSync(join(tmpdir(), "tripod-brain-"));
  readonly bundle = join(this.dir, "bundle");
  readonly context: Context;

  private constructor(context: Omit<Context, "roots">) {
    this.context = { ...context, roots: rootsOf(this.dir) };
    mkdirSync(join(this.bundle, "rootfs"), { recursive: true });
    // The runtime's, which the brain keeps its record in.
    mkdirSync(join(this.dir, "run/box"), { recursive: true });
    const tree = installationTree();
    copyFileSync(join(tree, "build/httpreply/httpreply.spt"), join(this.bundle, "rootfs/kernel"));
  }

  static async open(t: TestContext): Promise<Lab> {
    const tree = installationTree();
    const config = await loadConfig(undefined);
    const lab = new Lab({ namespace: "engine", config, programs: programsOf(tree), tree });
    t.after(() => rmSync(lab.dir, { recursive: true, force: true }));
    await gatherFacts(lab.context);
    return lab;
  }

  /** What the brain says to a bundle with this configuration. */
  async create(config: unknown): Promise<Told> {
    writeFileSync(join(this.bundle, "config.json"), JSON.stringify(config));
    const request: CreateRequest = {
      op: "create",
      version: 1,
      id: "box",
      bundle: hostPath(this.bundle),
      stateDir: hostPath(join(this.dir, "run/box")),
      systemdCgroup: false,
      console: false,
      neighbours: 0,
      guests: 0,
      path: process.env["PATH"] ?? "",
    };
    const [ours, theirs] = duplexPair();
    const done = converse(theirs, this.context).then(() => theirs.end());
    ours.write(`${JSON.stringify(request)}\n`);
    const steps: Step[] = [];
    const end: { failed?: string; delegated?: string } = {};
    for await (const line of linesOf(ours)) {
      if (line.failed !== undefined) end.failed = `${line.failed.message} (${line.failed.hint ?? ""})`;
      if (line.delegate !== undefined) end.delegated = line.delegate.program;
      if (line.plan !== undefined) steps.push(...line.plan.steps);
      const ok = line.op === "prepare" ? { net: dualStack, times: [] } : { pid: 1, times: [] };
      if (line.id !== undefined) ours.write(`${JSON.stringify({ id: line.id, ok })}\n`);
    }
    await done;
    return { steps, ...end };
  }
}

const unikernel = {
  ociVersion: "1.0.2",
  process: { user: { uid: 0, gid: 0 }, args: ["port=80"], env: ["A=1"], cwd: "/", oomScoreAdj: 0 },
  root: { path: "rootfs", readonly: false },
  hostname: "guest",
  mounts: [{ destination: "/etc/resolv.conf", type: "bind", source: "/etc/resolv.conf", options: ["rbind"] }],
  hooks: {
    createRuntime: [{ path: "/bin/true", args: ["true"], env: ["A=1"], timeout: 3 }],
    poststop: [{ path: "/bin/true" }],
  },
  annotations: {
    "dev.tripod.mode": "unikernel",
    "dev.tripod.guest": "solo5",
    "dev.tripod.monitors": "spt",
    "dev.tripod.kernel": "/kernel",
    "dev.tripod.boot-line": "ip={ipv4} hostname={hostname} {args}",
    "dev.tripod.net-devices": "service0",
    "dev.tripod.min-memory": "2Mi",
    "io.kubernetes.cri.image-name": "web:1",
  },
  linux: {
    cgroupsPath: "/pods/box",
    namespaces: [{ type: "network", path: "/proc/1/ns/net" }, { type: "mount" }],
    resources: {
      memory: { limit: 33_554_432 },
      cpu: { quota: 50_000, period: 100_000, shares: 10, cpus: "0" },
    },
  },
};

const spawnOf = ({ steps }: Told): Spawn | undefined => steps.find((step) => step.do === "spawn");
const hasGuest = existsSync(join(installationTree(), "build/httpreply/httpreply.spt"));

/** Nothing in it is of the guest's kernel or could end a word of the command. */
function checkArgv(argv: readonly string[]): void {
  const at = argv.indexOf("@3");
  assert.ok(at > 0 && argv.length <= at + 2, "the boot line is one argument behind the kernel");
  for (const word of argv)
    assert.ok(!word.includes("\0") && Buffer.byteLength(word) < 131_072, word.slice(0, 200));
  for (const word of argv.slice(1, at)) assert.match(word, /^--[a-z-]+(:[A-Za-z0-9]+)?=[@:0-9a-f]+$/);
}

test("a bundle becomes one confined monitor with what the engine bound", { skip: !hasGuest }, async (t) => {
  const lab = await Lab.open(t);
  const told = await lab.create(unikernel);
  assert.equal(told.failed, undefined);
  const spawn = spawnOf(told);
  assert.ok(spawn !== undefined && spawn.as.uid >= 0x7000_0000 && spawn.as.gid === spawn.as.uid);
  checkArgv(spawn.argv);
  assert.match(spawn.argv.at(-1) ?? "", /^ip=\S+ hostname=guest port=80$/);
  const kernel = told.steps.find((step) => step.do === "open" && step.name === "kernel");
  assert.ok(kernel?.do === "open" && kernel.nofollow === true, "opened where it was found");
  const cgroup = told.steps.find((step) => step.do === "cgroup");
  assert.ok(cgroup?.do === "cgroup" && cgroup.path === "/pods/box" && cgroup.warden);
  const given = await lab.create({
    ...unikernel,
    process: { ...unikernel.process, user: { uid: 7, gid: 8 } },
  });
  assert.deepEqual(spawnOf(given)?.as, { uid: 7, gid: 8, groups: [] });
});

test(
  "a bundle that was changed anywhere ends in a whole plan, another runtime or an error of ours",
  { skip: !hasGuest },
  async (t) => {
    const lab = await Lab.open(t);
    const seen = { plans: 0, delegated: 0, failed: 0 };
    await fc.assert(
      fc.asyncProperty(changed(unikernel), async ({ config, at }) => {
        const told = await lab.create(config);
        const spawn = spawnOf(told);
        if (told.failed !== undefined) {
          seen.failed++;
          assert.doesNotMatch(
            told.failed,
            /unexpected|report it/,
            `${at.join(".")}: ${told.failed.slice(0, 500)}`,
          );
          assert.ok(told.failed.length < 1300, told.failed.slice(0, 2500));
        } else if (told.delegated !== undefined) seen.delegated++;
        else {
          seen.plans++;
          assert.ok(spawn !== undefined);
          checkArgv(spawn.argv);
          assert.ok(spawn.as.uid > 0 && spawn.as.gid > 0, "never root");
        }
      }),
      { numRuns: 400 },
    );
    assert.ok(seen.plans > 20 && seen.failed > 20, JSON.stringify(seen));
    t.diagnostic(JSON.stringify(seen));
  },
);

test(
  "words of the bundle stay words of the boot line, or are refused by what they are",
  { skip: !hasGuest },
  async (t) => {
    const lab = await Lab.open(t);
    await fc.assert(
      fc.asyncProperty(
        fc.array(hostileText, { maxLength: 4 }),
        hostileText,
        hostileText,
        async (args, env, line) => {
          const told = await lab.create({
            ...unikernel,
            process: { ...unikernel.process, args, env: [`A=${env}`] },
            annotations: { ...unikernel.annotations, "dev.tripod.boot-line": `${line} {args}` },
          });
          const spawn = spawnOf(told);
          assert.equal(spawn === undefined, told.failed !== undefined, "one or the other");
          assert.doesNotMatch(told.failed ?? "", /unexpected|report it/);
          if (spawn !== undefined) checkArgv(spawn.argv);
        },
      ),
      { numRuns: 200 },
    );
  },
);
