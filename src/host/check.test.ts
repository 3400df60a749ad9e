import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { type HostPath, hostPath } from "../spec/paths.ts";
import type { Found } from "../spec/values.ts";
import { check, lookAtDisk, someModeRuns } from "./check.ts";
import type { NodeFacts, Seen } from "./facts/facts.ts";

const roots = { run: hostPath("/r/run"), lib: hostPath("/r/lib") };
const disk = { run: undefined, lib: undefined, freeBytes: 2 ** 40 };
const at = (name: string): Found => ({ path: hostPath(`/usr/bin/${name}`), version: "1.0" });
const none: Found = { missing: "it is nowhere" };
const yes: Seen = { works: true, evidence: "it was tried" };
const no: Seen = { works: false, evidence: "it failed" };

const good: NodeFacts = {
  probed: true,
  arch: "amd64",
  kernelRelease: "6.18",
  kvm: { can: "linux", evidence: "a guest ran" },
  monitors: { hvt: at("t"), spt: at("t"), qemu: at("q"), firecracker: at("f"), "cloud-hypervisor": at("c") },
  ociRuntimes: { runc: at("runc"), crun: at("crun") },
  cgroups: "v2",
  tun: true,
  overlay: true,
  cniPluginDirs: [hostPath("/usr/lib/cni")],
  userNamespaces: true,
  memoryBytes: 1,
  cpus: 1,
  tender: at("t"),
  others: {
    "solo5-hvt": at("h"),
    "solo5-spt": at("s"),
    iptables: at("iptables"),
    virtiofsd: at("virtiofsd"),
  },
  seen: { tun: yes, overlay: yes, cni: yes, userNamespaces: yes, seccomp: yes },
};

const bad: NodeFacts = {
  ...good,
  kvm: { can: "none", evidence: "no /dev/kvm" },
  monitors: { hvt: none, spt: none, qemu: none, firecracker: none, "cloud-hypervisor": none },
  ociRuntimes: { runc: none, crun: none },
  cgroups: "none",
  tender: none,
  others: { "solo5-hvt": none, "solo5-spt": none, iptables: none, virtiofsd: none },
  seen: { tun: no, overlay: no, cni: no, userNamespaces: no, seccomp: no },
};

const verdicts = (facts: NodeFacts, looked = disk) =>
  Object.fromEntries(check(facts, looked, roots).map(({ id, verdict }) => [id, verdict]));

test("on a machine that has all, all is ok and nothing is to be done", () => {
  for (const { id, verdict, evidence, remedy } of check(good, disk, roots)) {
    assert.equal(verdict, "ok", id);
    assert.notEqual(evidence, "", id);
    assert.equal(remedy, "", id);
  }
  assert.ok(someModeRuns(good));
});

test("on a machine that has nothing, nothing is ok and every row has evidence and a remedy", () => {
  const rows = check(bad, { run: "EROFS", lib: "EACCES", freeBytes: 1000 }, roots);
  assert.equal(rows.length, check(good, disk, roots).length);
  for (const { id, verdict, evidence, remedy } of rows) {
    assert.notEqual(verdict, "ok", id);
    assert.notEqual(evidence, "", id);
    assert.notEqual(remedy, "", id);
  }
  assert.ok(!someModeRuns(bad));
});

test("every id that is asked for is there, once", () => {
  const ids = check(good, disk, roots).map(({ id }) => id);
  for (const id of "kvm tun cgroups overlayfs runc crun qemu solo5-hvt solo5-spt tripod-tender firecracker cloud-hypervisor virtiofsd cni iptables user-namespaces state disk".split(
    " ",
  ))
    assert.equal(ids.filter((one) => one === id).length, 1, id);
});

test("what works in part is a warning", () => {
  assert.equal(verdicts({ ...good, kvm: { can: "tiny", evidence: "" } })["kvm"], "warn");
  assert.equal(verdicts({ ...good, cgroups: "hybrid" })["cgroups"], "warn");
  assert.equal(verdicts(good, { ...disk, freeBytes: 2 ** 30 })["disk"], "warn");
  const one = check({ ...good, ociRuntimes: { runc: at("runc"), crun: none } }, disk, roots);
  assert.match(one.find(({ id }) => id === "crun")?.remedy ?? "", /nothing to do: runc works/);
});

test("looking at the disk makes the directories and tells why one cannot be", () => {
  const dir = mkdtempSync(join(tmpdir(), "tripod-check-"));
  const below = (path: string): HostPath => hostPath(join(dir, path));
  try {
    writeFileSync(join(dir, "file"), "");
    const looked = lookAtDisk({ run: below("a/run"), lib: below("file/lib") });
    assert.equal(looked.run, undefined);
    assert.equal(looked.lib, "ENOTDIR");
    assert.ok((looked.freeBytes ?? 0) > 0);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
