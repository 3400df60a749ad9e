/** Bundles that somebody made to do harm, or in haste, by the real binary: an error that names the field, at once, and nothing left behind. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type Config, assertNothingStands, makeRuntimeLab } from "../support/bundles.ts";

type Change = (config: Config) => void;
type Harm = readonly [what: string, expected: RegExp, change: Change, files?: (bundle: string) => void];

const linux =
  (more: object): Change =>
  (config) => {
    config["linux"] = { ...(config["linux"] as object), ...more };
  };
const annotated =
  (key: string, value: unknown): Change =>
  (config) => {
    config["annotations"] = { ...(config["annotations"] as object), [key]: value };
  };
const processIs =
  (more: object): Change =>
  (config) => {
    config["process"] = { ...(config["process"] as object), ...more };
  };
const resources = (more: object): Change => linux({ resources: more });
const hooks =
  (hook: object): Change =>
  (config) => {
    config["hooks"] = { prestart: [hook] };
  };
const nothing: Change = () => {};
const kernelIs =
  (make: (kernel: string, bundle: string) => void) =>
  (bundle: string): void => {
    const kernel = join(bundle, "rootfs/kernel");
    renameSync(kernel, join(bundle, "real"));
    make(kernel, bundle);
  };
const notAFile = /"\/kernel" is not a regular file of the image/;
const network = { type: "network" };

const harms: readonly Harm[] = [
  ["a link to the host's file", notAFile, nothing, kernelIs((at) => symlinkSync("/etc/passwd", at))],
  ["a link above the root", notAFile, nothing, kernelIs((at) => symlinkSync("../real", at))],
  ["a link to itself", notAFile, nothing, kernelIs((at) => symlinkSync("kernel", at))],
  ["a FIFO", notAFile, nothing, kernelIs((at) => void execFileSync("mkfifo", [at]))],
  ["a device", notAFile, nothing, kernelIs((at) => void execFileSync("mknod", [at, "c", "1", "5"]))],
  ["a directory", notAFile, nothing, kernelIs((at) => mkdirSync(at))],
  ["nothing", notAFile, nothing, kernelIs(() => {})],
  ["no kernel at all", /kernel|ELF/, nothing, kernelIs((at) => writeFileSync(at, "#!/bin/sh\n"))],
  [
    "a path above the root",
    /annotation of the bundle .*: dev\.tripod\.kernel: .*is not a path/,
    annotated("dev.tripod.kernel", "../../real"),
  ],
  [
    "a relative path",
    /dev\.tripod\.kernel|not a regular file of the image/,
    annotated("dev.tripod.kernel", "\n \"'"),
  ],
  ["a NUL", /annotations\.dev\.tripod\.kernel holds a NUL/, annotated("dev.tripod.kernel", "/kernel\0x")],
  ["an annotation that is a number", /annotations\.dev\.tripod\.kernel/, annotated("dev.tripod.kernel", 7)],
  ["annotations that are a list", /annotations/, (config) => (config["annotations"] = ["a"])],
  [
    "a megabyte and more",
    /annotations\.dev\.tripod\.boot-line is longer than 1048576 characters/,
    annotated("dev.tripod.boot-line", "x".repeat((1 << 20) + 1)),
  ],
  ["a long boot line", /boot line|bytes/, annotated("dev.tripod.boot-line", "x".repeat(1 << 20))],
  ["an unknown key of ours", /dev\.tripod\.kernal/, annotated("dev.tripod.kernal", "/kernel")],
  ["an unknown guest", /dev\.tripod\.guest|"nope"/, annotated("dev.tripod.guest", "nope")],
  ["an unknown monitor", /dev\.tripod\.monitors|"nope"/, annotated("dev.tripod.monitors", "nope")],
  ["a cgroup above", /linux\.cgroupsPath .*has a part \. or \.\./, linux({ cgroupsPath: "/a/../../b" })],
  ["a cgroup with a NUL", /linux\.cgroupsPath holds a NUL/, linux({ cgroupsPath: "/a\0" })],
  ["two network namespaces", /linux\.namespaces names .*twice/, linux({ namespaces: [network, network] })],
  ["the host's network", /linux\.namespaces has no network namespace/, linux({ namespaces: [] })],
  [
    "a relative namespace",
    /linux\.namespaces\S* .*(relative|absolute)/,
    linux({ namespaces: [{ ...network, path: "proc/1/ns/net" }] }),
  ],
  [
    "a namespace that is none",
    /cannot join|namespace/,
    linux({ namespaces: [{ ...network, path: "/etc/hosts" }] }),
  ],
  ["a namespace that is not there", /namespace/, linux({ namespaces: [{ ...network, path: "/no/such" }] })],
  [
    "a namespace of another kind",
    /namespace/,
    linux({ namespaces: [{ ...network, path: "/proc/self/ns/uts" }] }),
  ],
  ["a relative hook", /hooks\.prestart\.0\.path must be an absolute path/, hooks({ path: "hook" })],
  ["a hook that is not there", /\/no\/such\/hook/, hooks({ path: "/no/such/hook" })],
  ["a hook without time", /hooks\.prestart\.0\.timeout/, hooks({ path: "/bin/true", timeout: 0 })],
  ["a hook of years", /hooks\.prestart\.0\.timeout/, hooks({ path: "/bin/true", timeout: 1e12 })],
  ["a hook's broken environment", /hooks\.prestart\.0\.env/, hooks({ path: "/bin/true", env: [7] })],
  ["a user below zero", /process\.user\.uid/, processIs({ user: { uid: -1, gid: 0 } })],
  ["a user beyond", /process\.user\.uid/, processIs({ user: { uid: 2 ** 32, gid: 0 } })],
  ["an argument with a NUL", /process\.args\.0 holds a NUL/, processIs({ args: ["a\0b"] })],
  ["arguments that are text", /process\.args must be a list/, processIs({ args: "a b" })],
  [
    "a host name beyond",
    /hostname is longer than 64 bytes/,
    (config) => (config["hostname"] = "x".repeat(5000)),
  ],
  ["half a byte", /linux\.resources\.memory\.limit must be a whole/, resources({ memory: { limit: 1.5 } })],
  ["memory without end", /memory/, resources({ memory: { limit: 1e300 } })],
  ["memory of a few bytes", /memory/, resources({ memory: { limit: 1 } })],
  ["processors without end", /linux\.resources\.cpu\.quota/, resources({ cpu: { quota: 1e300 } })],
  ["a period of nothing", /linux\.resources\.cpu\.period/, resources({ cpu: { quota: 1e6, period: 1 } })],
  ["a host name of two words", /hostname/, (config) => (config["hostname"] = "a ip=9.9.9.9")],
  ["no such processor", /cpuset|cpus/, resources({ cpu: { cpus: "4096" } })],
  ["words for processors", /cpuset|cpus/, resources({ cpu: { cpus: "all\nof them" } })],
  ["an adjustment beyond", /process\.oomScoreAdj/, processIs({ oomScoreAdj: 5000 })],
  ["no version", /ociVersion is missing/, (config) => delete config["ociVersion"]],
  ["another version", /ociVersion is no version 1/, (config) => (config["ociVersion"] = "2.0.0")],
  ["no root", /root/, (config) => delete config["root"]],
  ["a root that is missing", /root\.path: .*ENOENT/, (config) => (config["root"] = { path: "nowhere" })],
  [
    "a root that is a file",
    /root\.path: .*not a directory/,
    (config) => (config["root"] = { path: "config.json" }),
  ],
  ["a root of the wrong kind", /root\.path must be a string/, (config) => (config["root"] = { path: {} })],
  [
    "a configuration that is none",
    /config\.json: .*line 1/,
    nothing,
    (bundle) => writeFileSync(join(bundle, "config.json"), "{"),
  ],
  [
    "a configuration without bottom",
    /config\.json: recursion limit/,
    nothing,
    (bundle) => writeFileSync(join(bundle, "config.json"), "[".repeat(1 << 20)),
  ],
  [
    "a list for a configuration",
    /config\.json.*must be an object/,
    nothing,
    (bundle) => writeFileSync(join(bundle, "config.json"), "[]"),
  ],
  [
    "a configuration that is a FIFO",
    /config\.json/,
    nothing,
    (bundle) => {
      rmSync(join(bundle, "config.json"));
      execFileSync("mkfifo", [join(bundle, "config.json")]);
    },
  ],
  [
    "a configuration without end",
    /config\.json/,
    nothing,
    (bundle) => {
      rmSync(join(bundle, "config.json"));
      symlinkSync("/dev/zero", join(bundle, "config.json"));
    },
  ],
  [
    "a malformed urunc.json",
    /urunc\.json/,
    (config) => delete config["annotations"],
    (bundle) => writeFileSync(join(bundle, "rootfs/urunc.json"), '{"com.urunc.unikernel.binary": 7}'),
  ],
  [
    "a urunc.json that is no JSON",
    /urunc\.json/,
    (config) => delete config["annotations"],
    (bundle) => writeFileSync(join(bundle, "rootfs/urunc.json"), "\0\0"),
  ],
];

test(
  "a bundle that does harm is refused by the name of the field, and nothing of it is left",
  { timeout: 120_000 },
  async (t) => {
    const lab = makeRuntimeLab(t);
    const wrong: string[] = [];
    for (const [what, expected, change, files] of harms) {
      const bundle = lab.unikernel(change);
      files?.(bundle);
      const { code, stderr } = await lab.run(["create", "--bundle", bundle, "harm"], { timeoutMs: 20_000 });
      if (code !== 1 || !expected.test(stderr) || /unexpected|panicked|\n\s+at /.test(stderr))
        wrong.push(`${what}: status ${code}: ${stderr.slice(0, 600)}`);
      if (code === 0) await lab.run(["delete", "--force", "harm"]);
      await assertNothingStands(lab, `by ${what}`);
    }
    assert.deepEqual(wrong, []);
  },
);
