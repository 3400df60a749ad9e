import assert from "node:assert/strict";
import { test } from "node:test";
import { type BundleInput, bundleConfig, defaultCapabilities } from "./bundle.ts";
import { commandOf, environmentOf } from "./command.ts";
import { containerSeccomp } from "./container-seccomp.ts";
import { TripodError } from "./errors.ts";
import { hostPath, sandboxPath } from "./paths.ts";
import { effectiveDns, formatHosts, formatResolvConf, parseResolvConf } from "./resolv.ts";
import { type SyscallName, syscallNumbers } from "./syscalls.ts";
import { resolveUser } from "./users.ts";

const refuses = (code: string, message: RegExp, run: () => unknown): void =>
  assert.throws(run, (error) => {
    assert.ok(error instanceof TripodError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  });

const input: BundleInput = {
  arch: "amd64",
  image: { Entrypoint: ["/app"], Cmd: ["serve"], Env: ["A=1", "B=2"], WorkingDir: "/srv" },
  wish: { args: [], env: [] },
  inherited: { TERM: "x" },
  user: { uid: 0, gid: 0 },
  hostname: "web",
  rootPath: "../rootfs",
  readonlyRoot: false,
  cgroupsPath: "/tripod/default/x",
  limits: {},
  terminal: false,
  volumes: [],
  tmpfs: [],
  files: [{ source: hostPath("/state/etc/hosts"), target: "/etc/hosts" }],
};

test("the command is merged by docker's rules", () => {
  const image = { Entrypoint: ["/e", "x"], Cmd: ["c"] };
  const command = (args: readonly string[], entrypoint?: string) =>
    commandOf(image, { args, env: [], ...(entrypoint === undefined ? {} : { entrypoint }) });
  assert.deepEqual(command([]), ["/e", "x", "c"]);
  assert.deepEqual(command(["a"]), ["/e", "x", "a"]);
  assert.deepEqual(command([], "/o"), ["/o"]);
  assert.deepEqual(command(["a"], "/o"), ["/o", "a"]);
  assert.deepEqual(command(["a"], ""), ["a"]);
  refuses("usage", /no program to run/, () => bundleConfig({ ...input, image: {} }));
});

const env = (words: readonly string[]) =>
  environmentOf({ Env: ["A=1", "B=2"] }, { args: [], env: words }, { OURS: "o=p" });

test("variables replace each other by name; a bare name takes ours or is left out", () => {
  assert.deepEqual(env(["A=3", "OURS", "GONE"]), ["A=3", "B=2", "OURS=o=p"]);
  assert.deepEqual(env(["B="]), ["A=1", "B="]);
  refuses("usage", /not an environment variable/, () => env(["=x"]));
  refuses("usage", /not an environment variable/, () => env([""]));
});

test("the defaults are docker's", () => {
  const { process, linux, mounts, root } = bundleConfig(input);
  assert.deepEqual(process.args, ["/app", "serve"]);
  assert.deepEqual(process.env, [
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOSTNAME=web",
    "A=1",
    "B=2",
  ]);
  assert.equal(process.cwd, "/srv");
  assert.equal(process.noNewPrivileges, false);
  assert.deepEqual(process.capabilities.effective, defaultCapabilities);
  assert.equal(root.readonly, false);
  assert.ok(linux.maskedPaths.includes("/proc/kcore"));
  assert.ok(linux.readonlyPaths.includes("/proc/sys"));
  assert.ok(mounts.some(({ destination }) => destination === "/dev/shm"));
});

test("the container keeps the network namespace that its runtime is started in, and no other", () => {
  const { namespaces } = bundleConfig(input).linux;
  const made = namespaces.filter(({ path }) => path === undefined).map(({ type }) => type);
  assert.deepEqual(made.toSorted(), ["cgroup", "ipc", "mount", "pid", "uts"]);
  assert.deepEqual(
    namespaces.filter(({ path }) => path !== undefined),
    [{ type: "network", path: "/proc/self/ns/net" }],
  );
});

test("a user other than root starts without capabilities", () => {
  const { capabilities } = bundleConfig({ ...input, user: { uid: 33, gid: 33 } }).process;
  assert.deepEqual([capabilities.effective, capabilities.permitted], [[], []]);
  assert.deepEqual(capabilities.bounding, defaultCapabilities);
});

const resources = (limits: BundleInput["limits"]) => bundleConfig({ ...input, limits }).linux.resources;

test("limits become resources, and absent ones stay absent", () => {
  const devices = [{ allow: false, access: "rwm" }];
  assert.deepEqual(resources({}), { devices });
  assert.deepEqual(resources({ memoryBytes: 64, cpuQuotaUs: 5000, pids: 9, cpusetCpus: "0" }), {
    devices,
    memory: { limit: 64 },
    cpu: { quota: 5000, period: 100_000, cpus: "0" },
    pids: { limit: 9 },
  });
});

test("volumes come after ours, parents before children, and take the place of ours", () => {
  const { mounts } = bundleConfig({
    ...input,
    volumes: [
      { source: hostPath("/a"), target: sandboxPath("/data/deep"), readonly: true },
      { source: hostPath("/b"), target: sandboxPath("/data"), readonly: false },
      { source: hostPath("/hosts"), target: sandboxPath("/etc/hosts"), readonly: false },
      { source: hostPath("/shm"), target: sandboxPath("/dev/shm"), readonly: false },
    ],
  });
  const targets = mounts.map(({ destination }) => destination);
  assert.ok(targets.indexOf("/data") < targets.indexOf("/data/deep"));
  assert.equal(targets.filter((target) => target === "/etc/hosts").length, 1);
  assert.equal(mounts.find(({ destination }) => destination === "/dev/shm")?.source, "/shm");
  assert.deepEqual(mounts.find(({ destination }) => destination === "/data/deep")?.options, [
    "rbind",
    "rprivate",
    "ro",
  ]);
  const twice = { source: hostPath("/a"), target: sandboxPath("/x"), readonly: false };
  for (const target of ["/", "/proc", "/sys", "/dev"])
    refuses("usage", new RegExp(`cannot take the place of ${target}$`), () =>
      bundleConfig({
        ...input,
        volumes: [{ source: hostPath("/srv"), target: sandboxPath(target), readonly: false }],
      }),
    );
  refuses("usage", /two volumes/, () => bundleConfig({ ...input, volumes: [twice, twice] }));
  refuses("usage", /place of \//, () =>
    bundleConfig({ ...input, volumes: [{ ...twice, target: sandboxPath("/") }] }),
  );
});

const files = {
  passwd: "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001::/:/bin/sh\nbroken\n",
  group: "root:x:0:\nweb:x:1001:\nvideo:x:44:other,web\nother:x:5:\n",
};

test("users are resolved against the image's own files", () => {
  assert.deepEqual(resolveUser("", files), { uid: 0, gid: 0 });
  assert.deepEqual(resolveUser("web", files), { uid: 1000, gid: 1001, additionalGids: [44] });
  assert.deepEqual(resolveUser("1000", files), { uid: 1000, gid: 1001, additionalGids: [44] });
  assert.deepEqual(resolveUser("7", files), { uid: 7, gid: 0 });
  assert.deepEqual(resolveUser("7:video", files), { uid: 7, gid: 44 });
  assert.deepEqual(resolveUser("web:0", files), { uid: 1000, gid: 0 });
  assert.deepEqual(resolveUser("65534:65534", { passwd: "", group: "" }), { uid: 65534, gid: 65534 });
  refuses("image-invalid", /no user "nobody"/, () => resolveUser("nobody", files));
  refuses("image-invalid", /no group "x"/, () => resolveUser("0:x", files));
  refuses("image-invalid", /no user "a:b:c"/, () => resolveUser("a:b:c", files));
});

test("a resolv.conf is read, its loopback servers are not passed on, the network's own win", () => {
  const host = parseResolvConf(
    "# comment\nnameserver 127.0.0.53\nnameserver 192.0.2.1 ; x\nsearch a b\noptions ndots:2 edns0\nnonsense\n",
  );
  assert.deepEqual(host, {
    servers: ["127.0.0.53", "192.0.2.1"],
    search: ["a", "b"],
    options: ["ndots:2", "edns0"],
  });
  assert.equal(
    formatResolvConf(effectiveDns(undefined, host)),
    "nameserver 192.0.2.1\nsearch a b\noptions ndots:2 edns0\n",
  );
  const own = { servers: ["10.0.0.1", "a\nnameserver 6.6.6.6"], search: [] };
  assert.equal(formatResolvConf(effectiveDns(own, host)), "nameserver 10.0.0.1\n");
  assert.match(formatHosts("web", ["10.0.0.5"]), /^10\.0\.0\.5\tweb$/m);
  assert.match(formatHosts("web", []), /^127\.0\.1\.1\tweb$/m);
});

test("the container's profile names every architecture's calls by their right names", () => {
  // Calls of 32-bit and retired kernels, which the tables of today's 64-bit ones do not have.
  const old = new Set([
    "clock_settime64",
    "clock_adjtime64",
    "stime",
    "umount",
    "vm86",
    "vm86old",
    "sysfs",
    "uselib",
  ]);
  for (const { names, action } of containerSeccomp("amd64").syscalls) {
    assert.equal(action, "SCMP_ACT_ERRNO");
    for (const name of names)
      assert.ok(old.has(name) || syscallNumbers[name as SyscallName] !== undefined, name);
  }
  assert.ok(containerSeccomp("arm64").architectures.includes("SCMP_ARCH_AARCH64"));
});
