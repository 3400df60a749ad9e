import assert from "node:assert/strict";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { defaultConfig } from "../../spec/config.ts";
import { hostPath } from "../../spec/paths.ts";
import { cacheKey, cachePath, readCache } from "./cache.ts";
import { probeCni } from "./cni.ts";
import { type FactsOptions, cachedFacts, gatherFacts } from "./facts.ts";
import { probeKvm } from "./kvm.ts";
import { cgroupsAt } from "./machine.ts";
import { probeProgram, probeStatus } from "./probe-program.ts";
import { programVersion, versionIn } from "./programs.ts";
import { machineFacts } from "./machine.ts";
import { probeTun } from "./tun.ts";
import { runProgram } from "../process.ts";

const scratch = mkdtempSync(join(tmpdir(), "tripod-facts-"));
after(() => rmSync(scratch, { recursive: true, force: true }));

function script(name: string, body: string) {
  const path = join(scratch, name);
  writeFileSync(path, `#!/bin/sh\n${body}\n`);
  chmodSync(path, 0o755);
  return hostPath(path);
}

const plugin = (dir: string, name: string): void => writeFileSync(join(dir, name), "", { mode: 0o755 });

/** An installation of its own, with a scripted tender that counts its starts. */
function installation(name: string): { options: FactsOptions; starts: () => number } {
  const root = join(scratch, name);
  mkdirSync(root);
  const count = join(root, "starts");
  const tender = script(
    `${name}-tender`,
    `echo x >>${count}; case $1 in probe-kvm) echo '{"kvm":"tiny","evidence":"scripted"}';; *) echo 'T tender, version v1.2.3' >&2;; esac`,
  );
  const roots = { run: hostPath(join(root, "run")), lib: hostPath(join(root, "lib")) };
  const starts = (): number => {
    try {
      return readFileSync(count, "utf8").length;
    } catch {
      return 0;
    }
  };
  return { options: { roots, programs: { tender }, config: defaultConfig }, starts };
}

test("facts are probed once, then read from the cache without starting anything", async () => {
  const { options, starts } = installation("once");
  const first = await gatherFacts(options);
  assert.deepEqual(first.kvm, { can: "tiny", evidence: "scripted" });
  assert.deepEqual(first.monitors.spt, { path: options.programs.tender, version: "1.2.3" });
  const probes = starts();
  let probed = false;
  assert.deepEqual(await gatherFacts({ ...options, onProbe: () => (probed = true) }), first);
  assert.equal(probed, false);
  assert.equal(starts(), probes);
  assert.deepEqual(cachedFacts(options), first);
  await gatherFacts({ ...options, refresh: true });
  assert.ok(starts() > probes);
});

test("a changed program, a damaged cache and a foreign one are probed anew", async () => {
  const { options, starts } = installation("anew");
  const file = cachePath(options.roots.lib);
  await gatherFacts(options);
  const spoil: readonly (() => void)[] = [
    () => writeFileSync(file, readFileSync(file, "utf8").slice(0, -20)),
    () => writeFileSync(file, readFileSync(file, "utf8").replace('"version":1', '"version":99')),
    () => writeFileSync(file, readFileSync(file, "utf8").replace('"can":"tiny"', '"can":"huge"')),
    () => writeFileSync(file, readFileSync(file, "utf8").replace(/boot [0-9a-f]/, "boot x")),
    () => writeFileSync(file, "x".repeat(300_000)),
    () => writeFileSync(options.programs.tender, `${readFileSync(options.programs.tender, "utf8")}\n`),
    () => {
      rmSync(file);
      mkdirSync(file);
      rmSync(file, { recursive: true });
    },
  ];
  for (const [at, change] of spoil.entries()) {
    const before = starts();
    change();
    const facts = await gatherFacts(options);
    assert.equal(facts.kvm.can, "tiny");
    assert.ok(starts() > before, `change ${at} was not noticed`);
  }
  assert.deepEqual(readdirSync(options.roots.lib), ["facts.json"]);
  assert.deepEqual(readdirSync(options.roots.run), []);
  const cgroups = readdirSync("/sys/fs/cgroup").flatMap((name) => {
    const dir = join("/sys/fs/cgroup", name);
    return [name, ...(statSync(dir).isDirectory() ? readdirSync(dir) : [])];
  });
  assert.deepEqual(
    cgroups.filter((name) => name.startsWith(`tripod-probe-${process.pid}-`)),
    [],
  );
});

test("an unwritable state directory gives facts all the same", async () => {
  const { options } = installation("unwritable");
  writeFileSync(join(scratch, "unwritable/lib"), "a file where the directory should be");
  const facts = await gatherFacts(options);
  assert.equal(facts.kvm.can, "tiny");
  assert.equal(facts.overlay, false);
  assert.match(facts.seen.overlay.evidence, /unwritable\/lib/);
});

test("without a cache nothing is started and KVM counts as none", () => {
  const { options, starts } = installation("none");
  const facts = cachedFacts(options);
  assert.deepEqual(facts.kvm, { can: "none", evidence: "not probed yet" });
  assert.equal(facts.probed, false);
  assert.equal(starts(), 0);
  assert.equal(readCache(options.roots.lib, ["x"]), undefined);
});

test("a monitor named by the configuration is probed there, and one that is not there is told by its path", async () => {
  const { options } = installation("configured");
  const own = script("own-qemu", "echo 'QEMU emulator version 9.9.9'");
  const config = {
    ...defaultConfig,
    monitors: { qemu: { path: own }, firecracker: { path: hostPath("/nowhere/firecracker") } },
  };
  const { monitors } = await gatherFacts({ ...options, config });
  assert.deepEqual(monitors.qemu, { path: own, version: "9.9.9" });
  assert.ok("missing" in monitors.firecracker && /\/nowhere\/firecracker/.test(monitors.firecracker.missing));
});

test("the key names every monitor, and a configured one first", () => {
  const { options } = installation("key");
  const input = {
    roots: options.roots,
    programs: options.programs,
    monitorPaths: { qemu: hostPath("/opt/own/qemu") },
    dirs: ["/usr/bin"],
    cniDirs: [],
  };
  const key = cacheKey(input).join("\n");
  assert.match(key, /^qemu missing$/m);
  assert.match(key, /^firecracker missing$/m);
});

test("a KVM probe that fails, hangs on to nonsense or lies counts as none", async () => {
  for (const [body, why] of [
    ["exit 3", /ended with 3/],
    ["echo '{}'", /could not be read/],
    ["echo nonsense", /could not be read/],
    [`echo '{"kvm":"super","evidence":""}'`, /could not be read/],
  ] as const) {
    const kvm = await probeKvm(script("kvm-probe", body));
    assert.equal(kvm.can, "none");
    assert.match(kvm.evidence, why);
  }
  assert.equal((await probeKvm(hostPath("/nowhere/tender"))).can, "none");
});

test("versions are found in what programs really say", () => {
  const said = {
    "runc version 1.1.5+ds1\ncommit: 1.1.5+ds1-1+deb12u1\nspec: 1.0.2-dev": "1.1.5+ds1",
    "crun version 1.8.1\ncommit: f8a096be060b22ccd3d5f3ebe44108517fbf6c30": "1.8.1",
    "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)": "7.2.22",
    "Firecracker v1.16.1\n\n2026-01-01": "1.16.1",
    "cloud-hypervisor v53.0.0": "53.0.0",
    "solo5-hvt tender, version v0.9.3-2-gabc\nABI version 2": "0.9.3-2-gabc",
    "iptables v1.8.9 (nf_tables)": "1.8.9",
    "tripod-tender 0.1.0": "0.1.0",
  };
  for (const [text, version] of Object.entries(said)) assert.equal(versionIn(text), version);
  assert.equal(versionIn("no version here"), undefined);
});

test("a program that fails at --version is missing, with its own words", async () => {
  const found = await programVersion(script("broken", "echo 'cannot load libx.so.1' >&2; exit 127"));
  assert.ok("missing" in found && /ended with 127: cannot load libx.so.1/.test(found.missing));
});

test("CNI plugins may lie in several directories; one missing plugin empties the list", () => {
  const [a, b] = [join(scratch, "cni-a"), join(scratch, "cni-b")];
  mkdirSync(a);
  mkdirSync(b);
  for (const name of ["bridge", "host-local", "loopback"]) plugin(a, name);
  plugin(b, "portmap");
  const short = probeCni([a, b, "relative"]);
  assert.deepEqual(short.pluginDirs, []);
  assert.match(short.seen.evidence, /: firewall$/);
  plugin(b, "firewall");
  assert.deepEqual(probeCni([a, b]).pluginDirs, [a, b]);
});

test("cgroups are told by magic number: an ordinary directory is none", () => {
  assert.equal(cgroupsAt(scratch), "none");
  assert.notEqual(cgroupsAt("/sys/fs/cgroup"), "none");
});

test("a tun device that is missing or something else does not work", () => {
  assert.deepEqual(probeTun(join(scratch, "no-tun")).works, false);
});

test("the probe program is a real one: it ends with its status", async () => {
  const path = join(scratch, "probe");
  writeFileSync(path, probeProgram(machineFacts().arch), { mode: 0o755 });
  assert.equal((await runProgram(path, [], { deadlineMs: 5000 })).code, probeStatus);
});
