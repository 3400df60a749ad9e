import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { processStartTicks } from "../host/processes.ts";
import { defaultConfig } from "../spec/config.ts";
import { TripodError } from "../spec/errors.ts";
import { hostPath } from "../spec/paths.ts";
import type { SandboxFile } from "../spec/values.ts";
import { type Context, rootsOf } from "./context.ts";
import { madeUpName } from "./names.ts";
import {
  checkName,
  findSandbox,
  listSandboxes,
  newId,
  releaseName,
  reserve,
  sweepHalfMade,
  updateSandboxFile,
  viewSandbox,
} from "./store.ts";

function makeContext(t: TestContext): Context {
  const root = mkdtempSync(join(tmpdir(), "tripod-store-"));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const program = hostPath("/bin/true");
  return {
    roots: rootsOf(root),
    namespace: "default",
    config: defaultConfig,
    programs: { warden: program, tender: program },
    tree: hostPath(root),
  };
}

const sandbox = (name: string, over: Partial<SandboxFile> = {}): SandboxFile => ({
  version: 1,
  id: newId(),
  namespace: "default",
  name,
  image: { reference: "httpreply:latest", manifest: `sha256:${"a".repeat(64)}` },
  mode: "unikernel",
  monitor: "spt",
  reason: "asked for",
  createdAt: new Date().toISOString(),
  command: [],
  ports: [],
  network: "none",
  limits: {},
  memoryBytes: 1 << 26,
  vcpus: 1,
  labels: {},
  terminal: false,
  removeOnExit: false,
  ...over,
});

const isCode = (code: string) => (error: unknown) => error instanceof TripodError && error.code === code;

test("a reserved sandbox is found by name, by id and by the beginning of its id", async (t) => {
  const context = makeContext(t);
  const file = sandbox("web");
  await reserve(context, file);
  for (const name of ["web", file.id, file.id.slice(0, 6)])
    assert.deepEqual((await findSandbox(context, name)).file, file);
  await assert.rejects(findSandbox(context, "other"), isCode("sandbox-not-found"));
  await assert.rejects(findSandbox(context, "../default"), isCode("sandbox-not-found"));
});

test("of many that want one name at once exactly one gets it, and the others leave nothing", async (t) => {
  const context = makeContext(t);
  const results = await Promise.allSettled(
    Array.from({ length: 24 }, () => reserve(context, sandbox("twin"))),
  );
  assert.equal(results.filter(({ status }) => status === "fulfilled").length, 1);
  for (const result of results)
    if (result.status === "rejected") assert.ok(isCode("name-in-use")(result.reason));
  assert.equal((await listSandboxes(context)).length, 1);
  assert.equal(readdirSync(join(context.roots.run, "default")).length, 2, "names and one sandbox");
});

test("a name whose sandbox is gone is free again", async (t) => {
  const context = makeContext(t);
  const first = sandbox("web");
  const dir = await reserve(context, first);
  rmSync(dir, { recursive: true });
  const second = sandbox("web");
  await reserve(context, second);
  assert.equal((await findSandbox(context, "web")).file.id, second.id);
  await releaseName(context, first);
  assert.equal((await findSandbox(context, "web")).file.id, second.id, "another's name is not let go");
});

test("a sandbox whose warden is another process now is dead", async (t) => {
  const context = makeContext(t);
  const file = sandbox("web");
  const dir = await reserve(context, file);
  assert.equal((await viewSandbox(context, file.id))?.status, "creating");
  const ticks = (await processStartTicks(process.pid)) ?? 0;
  const state = (startTicks: number, status: string) =>
    JSON.stringify({
      version: 1,
      id: file.id,
      status,
      pid: 0,
      startTicks: 0,
      warden: { pid: process.pid, startTicks },
      createdAt: file.createdAt,
    });
  for (const [startTicks, status, expected] of [
    [ticks, "running", "running"],
    [ticks + 1, "running", "dead"],
    [ticks + 1, "stopped", "stopped"],
  ] as const) {
    writeFileSync(join(dir, "state.json"), state(startTicks, status));
    assert.equal((await viewSandbox(context, file.id))?.status, expected);
  }
});

test("a sandbox that never got a warden is dead after a while", async (t) => {
  const context = makeContext(t);
  const file = sandbox("web", { createdAt: new Date(Date.now() - 3_600_000).toISOString() });
  await reserve(context, file);
  assert.equal((await viewSandbox(context, file.id))?.status, "dead");
});

test("what a killed command left half made is swept, what a live one makes is not", async (t) => {
  const context = makeContext(t);
  const names = join(context.roots.run, "default/names");
  mkdirSync(names, { recursive: true });
  const dead = join(context.roots.run, `default/.new-4194999-${newId()}`);
  const live = join(context.roots.run, `default/.new-${process.pid}-${newId()}`);
  for (const dir of [dead, live]) mkdirSync(dir);
  await sweepHalfMade(context);
  assert.deepEqual(
    readdirSync(join(context.roots.run, "default")).toSorted(),
    [live.split("/").at(-1), "names"].toSorted(),
  );
});

test("sandbox.json is replaced whole", async (t) => {
  const context = makeContext(t);
  const file = sandbox("web");
  const dir = await reserve(context, file);
  await updateSandboxFile(dir, { ...file, address: "10.0.0.2" });
  assert.equal(
    (JSON.parse(readFileSync(join(dir, "sandbox.json"), "utf8")) as SandboxFile).address,
    "10.0.0.2",
  );
  assert.deepEqual(readdirSync(dir), ["sandbox.json"]);
});

test("names are docker's, and a made-up one is one of them whatever the image is called", () => {
  for (const bad of ["", "-a", "a/b", "a b", "ä", "x".repeat(64), "..", ".a"])
    assert.throws(() => checkName(bad), isCode("usage"));
  for (const reference of [
    "httpreply",
    "localhost:5000/Team/App:v1@sha256:abc",
    "ö",
    "a/..b:1",
    `x/${"y".repeat(200)}`,
  ])
    assert.equal(checkName(madeUpName(reference, newId())).length > 6, true);
});
