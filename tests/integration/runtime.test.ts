/** The OCI command line, called as engines call it. */

import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { makeRuntimeLab } from "../support/runtime.ts";
import { eventually, runToEnd } from "../support/tripod.ts";

const namespaces = ["pid", "network", "ipc", "uts", "mount", "time"].map((type) => ({ type }));

test("a bundle of a newer specification runs by the real runc, which is told what it knows", async (t) => {
  const lab = makeRuntimeLab(t);
  const bundle = lab.container("new", {
    args: ["/bin/busybox", "sh", "-c", "echo here; exit 7"],
    config: { ociVersion: "1.2.1" },
    linux: { namespaces },
  });
  const direct = await lab.runc(["run", "--bundle", bundle, "direct"]);
  if (direct.code === 7) return t.diagnostic("the runc of this machine knows the time namespace itself");
  const ran = await lab.run(["run", "--bundle", bundle, "box"]);
  assert.equal(ran.code, 7, ran.stderr);
  assert.equal(ran.stdout, "here\n");
  assert.match(ran.logged[0]?.msg ?? "", /time namespace.*left out/);
  await lab.ok(["create", "--bundle", bundle, "made"]);
  const derived = join(lab.root, ".made.tripod.bundle");
  assert.ok(existsSync(join(derived, "config.json")));
  await lab.ok(["start", "made"]);
  await lab.ok(["delete", "--force", "made"]);
  assert.deepEqual(
    readdirSync(lab.root).filter((name) => name.includes("made")),
    [],
  );
});

test("features, version and help answer without a container, in the forms that engines read", async (t) => {
  const lab = makeRuntimeLab(t);
  const features: unknown = JSON.parse(await lab.ok(["features"]));
  const below: unknown = JSON.parse((await lab.runc(["features"])).stdout);
  assert.deepEqual(pick(features, "hooks"), pick(below, "hooks"));
  assert.deepEqual(pick(features, "mountOptions"), pick(below, "mountOptions"));
  assert.deepEqual(pick(pick(features, "linux"), "seccomp"), pick(pick(below, "linux"), "seccomp"));
  assert.match(JSON.stringify(pick(features, "linux")), /"time"/);
  const version = await lab.ok(["--version"]);
  assert.match(version, /^tripod-runtime version \d+\.\d+\.\d+\S*\nspec: 1\.\d+\.\d+\n/);
  assert.equal(await lab.ok(["version"]), version);
  for (const argv of [["--help"], ["help"], ["create", "--help"]])
    assert.match(await lab.ok(argv), /Commands:[\s\S]*checkpoint/);
});

test("spec writes a bundle that runs, once", async (t) => {
  const lab = makeRuntimeLab(t);
  const bundle = lab.container("made");
  rmSync(join(bundle, "config.json"));
  await lab.ok(["spec", "--bundle", bundle]);
  const again = await lab.run(["spec", "--bundle", bundle]);
  assert.equal(again.code, 1);
  assert.equal(again.logged.at(-1)?.msg, "File config.json exists. Remove it first");
  const config: unknown = JSON.parse(readFileSync(join(bundle, "config.json"), "utf8"));
  assert.ok(typeof config === "object" && config !== null && "process" in config);
  const { process: own } = config;
  assert.ok(typeof own === "object" && own !== null);
  const changed = { ...config, process: { ...own, terminal: false, args: ["/bin/busybox", "true"] } };
  writeFileSync(join(bundle, "config.json"), JSON.stringify(changed));
  for (const name of ["sys", "dev/pts", "dev/shm", "dev/mqueue"])
    mkdirSync(join(bundle, "rootfs", name), { recursive: true });
  await lab.ok(["run", "--bundle", bundle, "made"]);
});

test("events and update of a unikernel speak of its cgroup; less memory than the guest has is refused", async (t) => {
  const lab = makeRuntimeLab(t);
  await lab.ok(["create", "--bundle", lab.unikernel("guest"), "guest"]);
  await lab.ok(["start", "guest"]);
  const stats = async (): Promise<unknown> => {
    const event: unknown = JSON.parse(await lab.ok(["events", "--stats", "guest"]));
    assert.equal(pick(event, "type"), "stats");
    assert.equal(pick(event, "id"), "guest");
    return pick(event, "data");
  };
  const before = await stats();
  const limitOf = (data: unknown): number => Number(pick(pick(pick(data, "memory"), "usage"), "limit"));
  const guest = 256 << 20;
  assert.ok(limitOf(before) > guest && limitOf(before) < guest + (64 << 20));
  assert.ok(Number(pick(pick(pick(before, "cpu"), "usage"), "total")) > 0);
  assert.ok(Number(pick(pick(before, "pids"), "current")) >= 2);

  await lab.ok(["update", "--memory", `${512 << 20}`, "--pids-limit", "77", "--cpu-share", "512", "guest"]);
  const after = await stats();
  assert.equal(limitOf(after) - limitOf(before), guest);
  assert.equal(pick(pick(after, "pids"), "limit"), 77);
  const file = join(lab.dir, "resources.json");
  writeFileSync(
    file,
    JSON.stringify({ memory: { limit: guest }, pids: { limit: -1 }, devices: [{ allow: false }] }),
  );
  await lab.ok(["update", "-r", file, "guest"]);
  assert.equal(limitOf(await stats()), limitOf(before));
  await lab.ok(["update", "--cpu-quota", "50000", "--cpu-period", "100000", "--cpuset-cpus", "0", "guest"]);

  const less = await lab.run(["update", "--memory", "64M", "guest"]);
  assert.equal(less.code, 1);
  assert.match(less.logged.at(-1)?.msg ?? "", /unable to set memory limit.*given 256Mi/);
  for (const [argv, says] of [
    [["--memory", "x"], /memory/],
    [["--pids-limit", "many"], /pids-limit/],
    [["--blkio-weight", "10"], /no meaning/],
    [["--nope"], /nope/],
    [["-r", "/nowhere"], /\/nowhere/],
  ] as const) {
    const wrong = await lab.run(["update", ...argv, "guest"]);
    assert.equal(wrong.code, 1, argv.join(" "));
    assert.match(wrong.logged.at(-1)?.msg ?? "", says);
  }
  await lab.ok(["kill", "guest", "KILL"]);
  await eventually("the end", async () =>
    /stopped/.test(await lab.ok(["state", "guest"])) ? true : undefined,
  );
  for (const verb of [
    ["events", "--stats"],
    ["update", "--pids-limit", "5"],
  ]) {
    const late = await lab.run([...verb, "guest"]);
    assert.equal(late.code, 1);
    assert.match(late.logged.at(-1)?.msg ?? "", /not running/);
  }
});

test("a network that comes between create and start is the guest's, as docker of today brings it", async (t) => {
  const lab = makeRuntimeLab(t);
  await lab.ok(["create", "--bundle", lab.unikernel("late"), "late"]);
  const state: unknown = JSON.parse(await lab.ok(["state", "late"]));
  assert.equal(pick(state, "status"), "created");
  const pid = String(pick(state, "pid"));
  const inside = ["-t", pid, "-n", "--", "ip"];
  for (const argv of [
    [...inside, "link", "add", "eth0", "type", "bridge"],
    [...inside, "address", "add", "10.99.0.2/24", "dev", "eth0"],
    [...inside, "link", "set", "eth0", "up"],
  ])
    assert.equal((await runToEnd("nsenter", argv)).code, 0, argv.join(" "));
  await lab.ok(["start", "late"]);
  assert.match(await lab.ok(["ps", "late"]), /tripod-tender .*ip=10\.99\.0\.2\/24/);
  await lab.ok(["delete", "--force", "late"]);
});

test("a unikernel that was created and never started is killed, and ends with the signal's status", async (t) => {
  const lab = makeRuntimeLab(t);
  for (const signal of ["KILL", "TERM"]) {
    const id = `never-${signal}`;
    await lab.ok(["create", "--bundle", lab.unikernel("never"), id]);
    await lab.ok(["kill", id, signal]);
    await eventually("the end", async () =>
      /"status": "stopped"/.test(await lab.ok(["state", id])) ? true : undefined,
    );
    assert.equal((await lab.run(["start", id])).code, 1);
    await lab.ok(["delete", id]);
  }
});

/** What go-runc, the runc shim, conmon and podman look for in the words of a failure. */
const wordsOf = (text: string): string[] =>
  [
    "does not exist",
    "not running",
    "container with given ID already exists",
    "already running",
    "not stopped",
    "not paused",
    "has stopped",
    "in the paused state",
    "invalid container ID",
    "cannot exec in a",
  ].filter((words) => text.toLowerCase().includes(words.toLowerCase()));

type Stage = "none" | "created" | "running" | "paused" | "stopped";

/** The same call in the same situation, of runc on a container and of ours on a unikernel. */
const wrongCalls: readonly { readonly stage: Stage; readonly argv: readonly string[] }[] = [
  ...["start", "state", "kill", "delete", "ps", "pause", "resume", "events", "update", "exec"].map(
    (verb) => ({ stage: "none", argv: [verb, "ID", ...(verb === "exec" ? ["true"] : [])] }) as const,
  ),
  { stage: "none", argv: ["delete", "--force", "ID"] },
  { stage: "none", argv: ["state"] },
  { stage: "none", argv: ["state", "a/b"] },
  { stage: "none", argv: ["create", "--bundle", "/nowhere", "ID"] },
  { stage: "created", argv: ["resume", "ID"] },
  { stage: "created", argv: ["kill", "ID", "NOPE"] },
  { stage: "created", argv: ["CREATE"] },
  { stage: "running", argv: ["start", "ID"] },
  { stage: "running", argv: ["delete", "ID"] },
  { stage: "running", argv: ["resume", "ID"] },
  { stage: "running", argv: ["kill", "ID", "999"] },
  { stage: "running", argv: ["CREATE"] },
  { stage: "running", argv: ["kill", "ID", "0"] },
  { stage: "paused", argv: ["pause", "ID"] },
  { stage: "paused", argv: ["start", "ID"] },
  { stage: "paused", argv: ["delete", "ID"] },
  { stage: "paused", argv: ["exec", "ID", "true"] },
  { stage: "stopped", argv: ["start", "ID"] },
  { stage: "stopped", argv: ["kill", "ID", "15"] },
  { stage: "stopped", argv: ["kill", "--all", "ID", "9"] },
  { stage: "stopped", argv: ["pause", "ID"] },
  { stage: "stopped", argv: ["resume", "ID"] },
  { stage: "stopped", argv: ["exec", "ID", "true"] },
  { stage: "stopped", argv: ["events", "--stats", "ID"] },
  { stage: "stopped", argv: ["update", "--pids-limit", "9", "ID"] },
  { stage: "stopped", argv: ["ps", "ID"] },
];

test("a wrong call fails as runc's does: the status, and the words that engines look for", async (t) => {
  const lab = makeRuntimeLab(t);
  const sides = [
    { call: lab.runc, bundle: lab.container("box", { args: ["/bin/busybox", "sleep", "60"] }) },
    { call: lab.run, bundle: lab.unikernel("guest") },
  ];
  const differences: string[] = [];
  for (const stage of ["none", "created", "running", "paused", "stopped"] as const) {
    const id = `at-${stage}`;
    for (const { call, bundle } of sides) {
      if (stage === "none") continue;
      assert.equal((await call(["create", "--bundle", bundle, id])).code, 0);
      if (stage !== "created") await call(["start", id]);
      if (stage === "paused") await call(["pause", id]);
      if (stage === "stopped") {
        await call(["kill", id, "KILL"]);
        await eventually("the end", async () =>
          /"status": "stopped"/.test((await call(["state", id])).stdout) ? true : undefined,
        );
      }
    }
    for (const wrong of wrongCalls.filter((one) => one.stage === stage)) {
      const [theirs, ours] = await Promise.all(
        sides.map(({ call, bundle }) =>
          call(
            wrong.argv[0] === "CREATE"
              ? ["create", "--bundle", bundle, id]
              : wrong.argv.map((word) => (word === "ID" ? id : word)),
          ),
        ),
      );
      assert.ok(theirs !== undefined && ours !== undefined);
      const told = (one: typeof theirs): string =>
        JSON.stringify({
          code: one.code === 0 ? 0 : 1,
          words: wordsOf(one.logged.findLast(({ level }) => level === "error")?.msg ?? ""),
        });
      if (told(theirs) !== told(ours))
        differences.push(
          `${stage}: ${wrong.argv.join(" ")}: runc ${theirs.code} ${JSON.stringify(theirs.logged.at(-1)?.msg)}, ours ${ours.code} ${JSON.stringify(ours.logged.at(-1)?.msg)}`,
        );
    }
    for (const { call } of sides) await call(["delete", "--force", id]);
  }
  assert.deepEqual(differences, []);
});

const pick = (value: unknown, key: string): unknown =>
  typeof value === "object" && value !== null
    ? Object.entries(value).find(([name]) => name === key)?.[1]
    : undefined;

test("a mark that a container left, or that is damaged, does not take a unikernel away", async (t) => {
  const lab = makeRuntimeLab(t);
  const missing = lab.container("missing", { args: ["/nonexist"] });
  const unikernel = lab.unikernel("unikernel");
  assert.notEqual((await lab.run(["create", "--bundle", missing, "box"])).code, 0);
  for (const mark of [undefined, "", "{}", "garbage"]) {
    if (mark !== undefined) writeFileSync(join(lab.root, ".box.tripod"), mark);
    await lab.ok(["create", "--bundle", unikernel, "box"]);
    await lab.ok(["start", "box"]);
    assert.match(await lab.ok(["state", "box"]), /"status": "running"/);
    assert.equal((await lab.ok(["list", "--quiet"])).trim(), "box");
    await lab.ok(["delete", "--force", "box"]);
  }
  assert.deepEqual(
    readdirSync(lab.root).filter((name) => name.includes("box")),
    [],
  );
});

test("restore by the id of a sandbox that lives is refused and changes nothing", async (t) => {
  const lab = makeRuntimeLab(t);
  await lab.ok(["create", "--bundle", lab.unikernel("unikernel"), "box"]);
  await lab.ok(["start", "box"]);
  const restored = await lab.run(["restore", "--bundle", lab.container("other"), "box"]);
  assert.notEqual(restored.code, 0);
  assert.match(restored.logged.at(-1)?.msg ?? "", /exists/);
  assert.match(await lab.ok(["state", "box"]), /"status": "running"/);
  await lab.ok(["delete", "--force", "box"]);
});

test("a container may have more memory than the machine, as by runc", async (t) => {
  const lab = makeRuntimeLab(t);
  const bundle = lab.container("much", {
    args: ["/bin/busybox", "true"],
    linux: { resources: { memory: { limit: 2 ** 46 } } },
  });
  assert.equal((await lab.run(["run", "--bundle", bundle, "box"])).code, 0);
});
