import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { runCommandLine } from "./cli.ts";
import { commands } from "./commands.ts";
import { documents } from "./documents.ts";
import { parseSignal } from "./kill.ts";
import { ago, portText } from "./sandbox-document.ts";
import { capturedTerminal } from "./testing.ts";

const root = mkdtempSync(join(tmpdir(), "tripod-cli-"));
after(() => rmSync(root, { recursive: true, force: true }));

async function tripod(...argv: readonly string[]) {
  const terminal = capturedTerminal();
  const status = await runCommandLine(["--root", root, ...argv], commands, {}, terminal);
  return { status, stdout: terminal.stdout(), stderr: terminal.stderr() };
}

const digest = `sha256:${"a".repeat(64)}`;

/** A sandbox as a warden leaves it; by default one that has stopped. */
function sandbox(
  id: string,
  name: string,
  over: { readonly file?: object; readonly state?: object; readonly log?: string } = {},
): string {
  const dir = join(root, "run/default", id);
  mkdirSync(dir, { recursive: true });
  mkdirSync(join(root, "run/default/names"), { recursive: true });
  writeFileSync(join(root, "run/default/names", name), id);
  const file = {
    version: 1,
    id,
    namespace: "default",
    name,
    image: { reference: "httpreply", manifest: digest },
    mode: "unikernel",
    monitor: "spt",
    reason: "asked for",
    createdAt: "2026-01-01T00:00:00.000Z",
    command: ["a", "b"],
    ports: [{ hostPort: 8080, guestPort: 80, protocol: "tcp" }],
    network: "bridge",
    address: "10.1.2.3",
    limits: {},
    memoryBytes: 1 << 24,
    vcpus: 1,
    labels: {},
    terminal: false,
    removeOnExit: false,
    ...over.file,
  };
  const state = {
    version: 1,
    id,
    status: "stopped",
    pid: 0,
    startTicks: 0,
    warden: { pid: 1, startTicks: 1 },
    createdAt: file.createdAt,
    startedAt: "2026-01-01T00:00:01Z",
    exit: { exitCode: 7, oomKilled: false, finishedAt: "2026-01-01T00:00:02Z" },
    ...over.state,
  };
  writeFileSync(join(dir, "sandbox.json"), JSON.stringify(file));
  writeFileSync(join(dir, "state.json"), JSON.stringify(state));
  writeFileSync(join(dir, "log"), over.log ?? "");
  return id;
}

const web = sandbox("0a".repeat(16), "web", {
  log: [
    "2026-01-01T00:00:00.100000000Z stdout F one",
    "2026-01-01T00:00:01.100000000Z stderr F error",
    "2026-01-01T00:00:02.100000000Z stdout P two ",
    "2026-01-01T00:00:02.200000000Z stdout F halves\n",
  ].join("\n"),
});
// Its warden is a process that cannot be: pid 1 started at tick 1.
const dead = sandbox("0b".repeat(16), "dead", { state: { status: "running", pid: 1, exit: undefined } });

test("ps shows what runs and what is dead; -a all; -q ids", async () => {
  const plain = await tripod("ps");
  assert.equal(plain.status, 0);
  assert.match(
    plain.stdout,
    /^ID +NAME +IMAGE +MODE +MONITOR +STATUS +ADDRESS +PORTS +CREATED\n0b0b0b0b0b0b +dead .* dead /,
  );
  assert.doesNotMatch(plain.stdout, /web/);
  const all = await tripod("ps", "-a");
  assert.match(
    all.stdout,
    /0a0a0a0a0a0a +web +httpreply +unikernel +spt +stopped \(7\) +10\.1\.2\.3 +8080->80\/tcp/,
  );
  assert.equal((await tripod("ps", "-aq", "--no-trunc")).stdout, `${web}\n${dead}\n`);
});

test("inspect gives one object for one name and an array for several, in JSON and YAML", async () => {
  const one = JSON.parse((await tripod("inspect", "-o", "json", "web")).stdout);
  assert.deepEqual(
    [one.id, one.name, one.image, one.mode, one.monitor, one.status, one.pid, one.address, one.createdAt],
    [web, "web", "httpreply", "unikernel", "spt", "stopped", 0, "10.1.2.3", "2026-01-01T00:00:00.000Z"],
  );
  assert.deepEqual(one.ports, [{ hostPort: 8080, guestPort: 80, protocol: "tcp" }]);
  assert.equal(one.exit.exitCode, 7);
  const two = JSON.parse((await tripod("inspect", "dead", web.slice(0, 12))).stdout);
  assert.deepEqual(
    two.map((entry: { name: string }) => entry.name),
    ["dead", "web"],
  );
  assert.equal(two[0].pid, 0, "a dead sandbox has no process, whatever its state says");
  assert.match((await tripod("inspect", "-o", "yaml", "web")).stdout, /^schema: tripod.sandbox\/1\nid: 0a/);
});

test("documents have the fields that are documented, in that order", async () => {
  const printed = {
    sandbox: JSON.parse((await tripod("inspect", "web")).stdout),
    check: JSON.parse((await tripod("check", "-o", "json")).stdout)[0],
    version: JSON.parse((await tripod("version", "-o", "json")).stdout),
  };
  for (const [name, document] of Object.entries(printed))
    assert.deepEqual(
      Object.keys(document),
      Object.keys(Object.entries(documents).find(([key]) => key === name)?.[1].fields ?? {}),
      name,
    );
});

test("what is not there is said with a hint and a status, on stderr only", async () => {
  for (const line of [
    ["inspect", "nothing"],
    ["logs", "nothing"],
    ["stop", "nothing"],
    ["rm", "nothing"],
    ["rmi", "nothing"],
    ["stats", "nothing"],
  ]) {
    const { status, stdout, stderr } = await tripod(...line);
    assert.equal(status, 1, line.join(" "));
    assert.equal(stdout, "");
    assert.match(stderr, /^tripod: .*"nothing".*\nhint: .+\n$/, line.join(" "));
  }
  for (const line of [
    ["rm", "-f", "nothing"],
    ["rmi", "-f", "nothing"],
  ])
    assert.equal((await tripod(...line)).status, 0);
});

test("logs prints streams apart, the last lines, from a time on, with times", async () => {
  const all = await tripod("logs", "web");
  assert.equal(all.stdout, "one\ntwo halves\n");
  assert.equal(all.stderr, "error\n");
  assert.equal((await tripod("logs", "--tail", "1", "web")).stdout, "two halves\n");
  assert.equal((await tripod("logs", "-f", "--tail", "1", "web")).stdout, "two halves\n");
  const since = await tripod("logs", "-t", "--since", "2026-01-01T00:00:02Z", "web");
  assert.equal(since.stdout, "2026-01-01T00:00:02.100000000Z two halves\n");
});

test("verbs on one that has stopped", async () => {
  assert.deepEqual(await tripod("wait", "web"), { status: 0, stdout: "7\n", stderr: "" });
  assert.deepEqual(await tripod("stop", "web"), { status: 0, stdout: "web\n", stderr: "" });
  const kill = await tripod("kill", "web");
  assert.equal(kill.status, 1);
  assert.match(kill.stderr, /^tripod: web does not run \(stopped\)/);
  assert.equal((await tripod("stats", "--no-stream", "web")).status, 1);
  const exec = await tripod("exec", "web", "ls", "-l");
  assert.equal(exec.status, 126);
  assert.match(exec.stderr, /one program/);
  assert.equal((await tripod("stop", "-t", "soon", "web")).status, 125);
});

test("one bad name among several does not keep the others from being done", async () => {
  const { status, stdout, stderr } = await tripod("wait", "web", "nothing", web);
  assert.equal(status, 1);
  assert.equal(stdout, "7\n7\n");
  assert.match(stderr, /nothing/);
});

test("images and inspect read the store; rmi removes, but not what a sandbox uses", async () => {
  const put = (value: object): { digest: string; size: number } => {
    const bytes = Buffer.from(JSON.stringify(value));
    const hex = createHash("sha256").update(bytes).digest("hex");
    mkdirSync(join(root, "lib/images/blobs/sha256"), { recursive: true });
    writeFileSync(join(root, "lib/images/blobs/sha256", hex), bytes);
    return { digest: `sha256:${hex}`, size: bytes.length };
  };
  const layer = put({ any: "bytes" });
  const config = put({
    os: "linux",
    architecture: "amd64",
    created: "2026-01-01T00:00:00Z",
    config: { Cmd: ["sh"], Labels: { "evil\u001b[2J": "x" } },
    rootfs: { type: "layers", diff_ids: [] },
  });
  const manifest = put({
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: { mediaType: "application/vnd.oci.image.config.v1+json", ...config },
    layers: [{ mediaType: "application/vnd.oci.image.layer.v1.tar", ...layer }],
  });
  const missing = { mediaType: "application/vnd.oci.image.manifest.v1+json", digest, size: 5 };
  const index = put({
    schemaVersion: 2,
    manifests: [
      {
        mediaType: "application/vnd.oci.image.manifest.v1+json",
        ...manifest,
        platform: { os: "linux", architecture: "amd64" },
      },
      { ...missing, platform: { os: "spt", architecture: "amd64" } },
      { ...missing, platform: { os: "unknown", architecture: "unknown" } },
    ],
  });
  const name = "docker.io/library/app:1";
  writeFileSync(
    join(root, "lib/images/index.json"),
    JSON.stringify({
      schemaVersion: 2,
      manifests: [
        {
          mediaType: "application/vnd.oci.image.index.v1+json",
          ...index,
          annotations: { "org.opencontainers.image.ref.name": name },
        },
      ],
    }),
  );
  const table = await tripod("images");
  assert.match(table.stdout, /app:1 +[0-9a-f]{12} +linux\/amd64, \(spt\/amd64\) /);
  const [listed] = JSON.parse((await tripod("images", "-o", "json")).stdout);
  assert.equal(listed.sizeBytes, layer.size + config.size + manifest.size + index.size);
  const inspected = JSON.parse((await tripod("inspect", "app:1")).stdout);
  assert.deepEqual(Object.keys(inspected), Object.keys(documents.image.fields));
  assert.equal(inspected.digest, index.digest);
  assert.deepEqual(inspected.manifests[0].config.Cmd, ["sh"]);
  assert.equal(inspected.manifests[1].stored, false);
  assert.equal(JSON.parse((await tripod("inspect", index.digest.slice(7, 17))).stdout).name, name);
  assert.equal((await tripod("images", "-q", "--no-trunc")).stdout, `${index.digest}\n`);

  const user = sandbox("0c".repeat(16), "user", {
    file: { image: { reference: "app:1", manifest: manifest.digest, index: index.digest } },
  });
  const refused = await tripod("rmi", "app:1");
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /used by the sandbox user \(stopped\)\nhint: tripod rm -f user/);
  rmSync(join(root, "run/default", user), { recursive: true });
  const removed = await tripod("rmi", "app:1");
  assert.deepEqual([removed.status, removed.stdout], [0, "app:1\n"]);
  assert.deepEqual(readdirSync(join(root, "lib/images/blobs/sha256")), []);
  assert.equal((await tripod("images", "-o", "json")).stdout, "[]\n");
});

test("--debug tells the code and the causes; without it one line", async () => {
  assert.match(
    (await tripod("--debug", "logs", "nothing")).stderr,
    /debug \[sandbox-not-found\]: TripodError.*\n.* at /,
  );
  assert.equal((await tripod("logs", "nothing")).stderr.split("\n").length, 3);
});

test("a relative --root and a damaged configuration are refused before anything is done", async () => {
  const terminal = capturedTerminal();
  assert.equal(await runCommandLine(["--root", "x", "ps"], commands, {}, terminal), 125);
  assert.match(terminal.stderr(), /--root must be an absolute directory/);
  const config = join(root, "bad.toml");
  writeFileSync(config, "[polcy]\n");
  const { status, stderr } = await tripod("--config", config, "ps");
  assert.equal(status, 125);
  assert.match(stderr, /bad\.toml.*polcy.*policy/);
});

test("version and completion need no set-up", async () => {
  assert.match((await tripod("version")).stdout, /^tripod \d+\.\d+\.\d+ /);
  assert.equal((await tripod("--version")).stdout, (await tripod("version")).stdout);
  assert.match((await tripod("completion", "bash")).stdout, /complete -o default -F _tripod tripod/);
  assert.equal((await tripod("completion", "fish")).status, 125);
});

test("signals by name and number", () => {
  for (const text of ["TERM", "SIGTERM", "term", "15"]) assert.equal(parseSignal(text), 15);
  for (const text of ["0", "65", "TREM", "", "-9"]) assert.throws(() => parseSignal(text), /is no signal/);
});

test("times and ports for people", () => {
  const now = Date.parse("2026-01-01T00:00:00Z");
  assert.equal(ago("2025-12-31T23:59:50Z", now), "10 s ago");
  assert.equal(ago("2025-12-31T22:00:00Z", now), "2 h ago");
  assert.equal(ago("2025-12-01T00:00:00Z", now), "31 days ago");
  assert.equal(ago("2027-01-01T00:00:00Z", now), "0 s ago");
  assert.equal(ago("nonsense", now), "nonsense");
  assert.equal(portText({ hostIp: "::1", hostPort: 1, guestPort: 2, protocol: "udp" }), "[::1]:1->2/udp");
});
