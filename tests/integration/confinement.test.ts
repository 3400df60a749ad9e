/**
 * A hostile program in each monitor's place, by the operator's own configuration: the same plan, the same confinement. What it reaches is checked here, and
 * docs/SECURITY.md has the table of what was seen. `UPDATE_GOLDEN=1 node --test tests/integration/confinement.test.ts` writes it anew; without it a table
 * that differs from what is seen fails.
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, readFileSync, readlinkSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { buildImage } from "../../src/image/build.ts";
import { openStore } from "../../src/image/image.ts";
import { readRecipe } from "../../src/image/recipe.ts";
import { hostPath } from "../../src/spec/paths.ts";
import { type Lab, eventually, makeLab, tree } from "../support/tripod.ts";

/**
 * The last is Solo5's own tender, as far as the name of the program tells: its filter is wide, since its calls differ from version to version, so it shows what
 * the rest of the confinement holds back.
 */
const columns = ["spt", "hvt", "qemu", "firecracker", "cloud-hypervisor", "solo5-spt"] as const;
type Column = (typeof columns)[number];

/** `killed` is the seccomp filter's answer. Everything else than these is a hole. */
const refused = /^(killed|refused E\w+)$/;
/** What one monitor cannot do without. */
const needed: Readonly<Partial<Record<Column, Readonly<Record<string, RegExp>>>>> = {
  "solo5-spt": {
    identity: /^uid 1[89]\d{8} gid 1[89]\d{8} groups 0$/,
    capabilities: /^effective 0 permitted 0 bounding 0$/,
  },
  // Both make their machine by KVM, and open it by path.
  firecracker: { "open-kvm": /^ALLOWED$/ },
  // A socket that reaches no network, to ask for the MTU of its tap.
  "cloud-hypervisor": { "open-kvm": /^ALLOWED$/, "unix-socket": /^ALLOWED$/ },
};
const expectations: Readonly<Record<string, RegExp>> = {
  identity: /^(killed|uid 1[89]\d{8} gid 1[89]\d{8} groups 0)$/,
  capabilities: /^(killed|effective 0 permitted 0 bounding 0)$/,
  "no-new-privs": /^(killed|1)$/,
  // Standard streams, and the few that the monitor was given; never one of ours.
  "open-fds": /^(killed|0 1 2( [3-9])*)$/,
  // Its own files and mount points.
  "root-entries": /^(killed|refused E\w+|empty|kernel lib lib64 usr)$/,
};

/** Builds the probe, where the operator's configuration can name it. */
function buildProbe(lab: Lab): string {
  execFileSync(join(tree, "script/build-probe"), { timeout: 300_000 });
  const path = join(lab.root, "hostile-probe");
  copyFileSync(join(tree, "build/hostile-probe"), path);
  return path;
}

/** Solo5's own tenders take no tap from us, so their image has a kernel that declares no device: the manifest keeps its reserved entry alone. */
async function imageWithoutDevices(lab: Lab): Promise<void> {
  const kernel = readFileSync(join(tree, "build/httpreply/httpreply.spt"));
  // ABI notes: name size 6, content size, type "MFT1", "Solo5".
  const at = kernel.indexOf(Buffer.from("MFT1Solo5\0\0\0")) - 8;
  assert.ok(at > 0 && kernel.readUInt32LE(at) === 6, "the kernel has a manifest");
  kernel.writeUInt32LE(4 + 8 + 104, at + 4);
  kernel.writeUInt32LE(1, at + 12 + 8 + 4 + 4);
  writeFileSync(join(lab.root, "kernel"), kernel);
  const recipe = {
    version: 1,
    name: "no-devices",
    images: [
      {
        platform: "spt/amd64",
        files: [{ from: "kernel", to: "/kernel", mode: "0644" }],
        annotations: {
          "dev.tripod.mode": "unikernel",
          "dev.tripod.guest": "solo5",
          "dev.tripod.monitors": "spt",
          "dev.tripod.kernel": "/kernel",
        },
      },
    ],
  };
  await buildImage(
    openStore(hostPath(join(lab.root, "lib"))),
    readRecipe(JSON.stringify(recipe), "no-devices.json"),
    {
      base: hostPath(lab.root),
    },
  );
}

/** A PVH kernel that says it runs by each of the monitors that open one by path. */
async function imageForAll(lab: Lab): Promise<void> {
  const recipe = {
    version: 1,
    name: "for-all",
    images: [
      {
        platform: "cloud-hypervisor/amd64",
        files: [{ from: "build/httpreply/httpreply.pvh", to: "/kernel", mode: "0644" }],
        annotations: {
          "dev.tripod.mode": "unikernel",
          "dev.tripod.guest": "pvh",
          "dev.tripod.monitors": "qemu,firecracker,cloud-hypervisor",
          "dev.tripod.kernel": "/kernel",
          // One that is there without a network: the program has what a guest with a network gives it.
          "dev.tripod.net-devices": "eth0",
        },
      },
    ],
  };
  await buildImage(
    openStore(hostPath(join(lab.root, "lib"))),
    readRecipe(JSON.stringify(recipe), "for-all.json"),
    { base: hostPath(tree) },
  );
}

async function setUp(lab: Lab): Promise<string> {
  const path = buildProbe(lab);
  const solo5 = join(lab.root, "solo5-spt");
  copyFileSync(path, solo5);
  const monitors = columns
    .filter((kind) => kind !== "solo5-spt")
    .map((kind) => `[monitors.${kind}]\npath = "${path}"\n`);
  writeFileSync(join(lab.root, "ours.toml"), monitors.join("\n"));
  writeFileSync(join(lab.root, "solo5.toml"), `[monitors.spt]\npath = "${solo5}"\n`);
  await imageWithoutDevices(lab);
  await imageForAll(lab);
  return path;
}

const imageOf: Readonly<Partial<Record<Column, string>>> = {
  spt: "httpreply",
  hvt: "httpreply",
  "solo5-spt": "no-devices",
};

const command = (lab: Lab, column: Column, name: string, ...flags: string[]): string[] => [
  "--config",
  join(lab.root, column === "solo5-spt" ? "solo5.toml" : "ours.toml"),
  "run",
  ...flags,
  "--network",
  "none",
  "--monitor",
  column === "solo5-spt" ? "spt" : column,
  imageOf[column] ?? "for-all",
  `attempt=${name}`,
];

async function attempt(lab: Lab, column: Column, name: string): Promise<string> {
  const outcome = await lab.tripod(command(lab, column, name, "--rm"), { timeoutMs: 30_000 });
  if (outcome.code === 159) return "killed";
  assert.equal(outcome.code, 0, `${column}: ${name}: ${outcome.stderr}`);
  return outcome.stdout.trim();
}

/** Ids differ from run to run; the table says what kind they are. */
const forPeople = (result: string): string =>
  result
    .replace(/uid \d+ gid \d+/, "uid and gid of its own")
    .replace(/^refused (\w+)$/, "refused ($1)")
    .replace(/^ALLOWED$/, "**allowed**");

/** The process in the monitor's place as the host's /proc shows it while it stands still. */
async function fromOutside(lab: Lab, column: Column): Promise<Record<string, string>> {
  const id = (await lab.ok(command(lab, column, "stand-still", "-d"))).trim();
  const pid = await eventually("the probe", async () => {
    const seen: unknown = JSON.parse(await lab.ok(["inspect", "-o", "json", id]));
    if (typeof seen !== "object" || seen === null || !("pid" in seen)) return undefined;
    const name = readFileSync(`/proc/${Number(seen.pid)}/comm`, "utf8").trim();
    // Before exec the number is the warden's stage.
    return name.startsWith("tripod-warden") ? undefined : Number(seen.pid);
  });
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const field = (name: string): string =>
    new RegExp(`^${name}:[ \\t]*(.*)$`, "m").exec(status)?.[1]?.trim() ?? "";
  const ids = field("Uid").split(/\s+/);
  assert.ok(
    [...ids, ...field("Gid").split(/\s+/)].every((text) => /^1[89]\d{8}$/.test(text)),
    status,
  );
  const capabilities = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map((name) => field(name));
  const own = ["mnt", "pid", "net", "ipc", "uts", "cgroup"].filter(
    (kind) => readlinkSync(`/proc/${pid}/ns/${kind}`) !== readlinkSync(`/proc/self/ns/${kind}`),
  );
  const mounts = readFileSync(`/proc/${pid}/mountinfo`, "utf8").trimEnd().split("\n");
  for (const mount of mounts)
    assert.match(mount.split(" ")[5] ?? "", /\bro\b.*\bnosuid\b/, `${column}: ${mount}`);
  const descriptors = readdirSync(`/proc/${pid}/fd`).map((fd) =>
    readlinkSync(`/proc/${pid}/fd/${fd}`).replace(/[:(/[].*/, (rest) =>
      rest.startsWith("/") ? rest.replace(/.*\//, "") : "",
    ),
  );
  await lab.ok(["rm", "-f", id]);
  return {
    "user and group": new Set(ids).size === 1 ? "unprivileged, of its own" : ids.join(" "),
    groups: field("Groups") || "none",
    capabilities: capabilities.every((set) => /^0+$/.test(set)) ? "none in any set" : capabilities.join(" "),
    "no new privileges": field("NoNewPrivs") === "1" ? "yes" : "NO",
    "seccomp filter": field("Seccomp") === "2" ? "yes" : "NO",
    "namespaces of its own": own.join(" "),
    "mounts in its root": `${mounts.length}, all read-only, nosuid`,
    "open files": descriptors.map((name) => name || "file").join(" "),
  };
}

const outsideExpectations: Readonly<Record<string, RegExp>> = {
  "user and group": /^unprivileged, of its own$/,
  groups: /^none$/,
  capabilities: /^none in any set$/,
  "no new privileges": /^yes$/,
  "seccomp filter": /^yes$/,
  "namespaces of its own": /^mnt pid net ipc uts cgroup$/,
};

const row = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
const tableOf = (title: string, rows: ReadonlyMap<string, readonly string[]>): string =>
  [
    row([title, ...columns.map((column) => `\`${column}\``)]),
    `|${"---|".repeat(columns.length + 1)}`,
    ...[...rows].map(([name, cells]) => row([name, ...cells])),
  ].join("\n");

/** Puts the tables between the marks of docs/SECURITY.md, or compares them with what stands there. */
function writeOrCompare(text: string): void {
  const path = join(tree, "docs/SECURITY.md");
  const page = readFileSync(path, "utf8");
  const marks = /(<!-- begin confinement -->\n)([\s\S]*?)(<!-- end confinement -->)/;
  assert.match(page, marks);
  if (process.env["UPDATE_GOLDEN"] === "1")
    writeFileSync(
      path,
      page.replace(marks, (_all, begin, _old, end) => `${begin}\n${text}\n\n${end}`),
    );
  else
    assert.equal(
      marks.exec(page)?.[2]?.trim(),
      text,
      "docs/SECURITY.md shows something else; UPDATE_GOLDEN=1 writes it anew",
    );
}

test("a hostile program in a monitor's place reaches nothing", { timeout: 600_000 }, async (t) => {
  const lab = makeLab(t);
  const path = await setUp(lab);
  const outside = new Map<string, string[]>();
  for (const column of columns)
    for (const [name, value] of Object.entries(await fromOutside(lab, column))) {
      assert.match(value, outsideExpectations[name] ?? /./, `${column}: ${name}: ${value}`);
      outside.set(name, [...(outside.get(name) ?? []), value]);
    }
  const inside = new Map<string, string[]>();
  for (const name of execFileSync(path, { encoding: "utf8", timeout: 10_000 }).trim().split("\n")) {
    const cells: string[] = [];
    for (const column of columns) {
      const result = await attempt(lab, column, name);
      const expected = needed[column]?.[name] ?? expectations[name] ?? refused;
      assert.match(result, expected, `${column}: ${name}: ${result}`);
      cells.push(forPeople(result));
    }
    inside.set(name, cells);
  }
  const text = `${tableOf("as the host sees it", outside)}\n\n${tableOf("attempt", inside)}`;
  t.diagnostic(text);
  // With another C library other calls are tried first: the expectations above hold, the page shows musl's.
  const version = execFileSync(path, ["--version"], { encoding: "utf8", timeout: 10_000 });
  if (version.includes("musl")) writeOrCompare(text);
  else t.diagnostic("docs/SECURITY.md was not compared: the probe is not built with musl");
});
