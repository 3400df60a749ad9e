/** `config.json` as engines write it, cut down to what differs between them, and hostile changes of it: for tests. */

import fc from "fast-check";

/** podman with crun's or runc's defaults: absolute root, `cgroupsPath` with its own prefix, hooks absent, annotations of its own. */
export const podmanConfig = {
  ociVersion: "1.1.0",
  process: {
    terminal: true,
    user: { uid: 0, gid: 0, umask: 18, additionalGids: [10] },
    args: ["port=80"],
    env: ["PATH=/usr/bin:/bin", "TERM=xterm", "container=podman", "HOSTNAME=b52a"],
    cwd: "/",
    capabilities: { bounding: ["CAP_KILL"], effective: ["CAP_KILL"], permitted: ["CAP_KILL"] },
    rlimits: [{ type: "RLIMIT_NOFILE", hard: 1_048_576, soft: 1_048_576 }],
    oomScoreAdj: 0,
  },
  root: { path: "/var/lib/containers/storage/overlay/5f/merged" },
  hostname: "b52a",
  mounts: [
    { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
    {
      destination: "/etc/resolv.conf",
      type: "bind",
      source: "/run/containers/storage/overlay-containers/b52a/userdata/resolv.conf",
      options: ["bind", "rprivate"],
    },
  ],
  annotations: {
    "io.container.manager": "libpod",
    "org.opencontainers.image.stopSignal": "15",
    "dev.tripod.mode": "unikernel",
  },
  linux: {
    uidMappings: null,
    sysctl: { "net.ipv4.ping_group_range": "0 0" },
    resources: { pids: { limit: 2048 }, devices: [{ allow: false, access: "rwm" }] },
    cgroupsPath: "/libpod_parent/libpod-b52a",
    namespaces: [
      { type: "pid" },
      { type: "network", path: "/run/netns/netns-7d3f" },
      { type: "ipc" },
      { type: "uts" },
      { type: "mount" },
      { type: "cgroup" },
    ],
    maskedPaths: ["/proc/acpi", "/proc/kcore"],
    readonlyPaths: ["/proc/asound"],
  },
};

/** dockerd: its network arrives in a `prestart` hook. */
export const dockerConfig = {
  ociVersion: "1.0.2-dev",
  process: {
    user: { uid: 1000, gid: 1000, additionalGids: [1000] },
    args: ["httpreply"],
    env: ["PATH=/bin", "HOSTNAME=4be1"],
    cwd: "/",
    apparmorProfile: "docker-default",
    oomScoreAdj: 0,
  },
  root: { path: "/var/lib/docker/overlay2/4be1/merged" },
  hostname: "4be1",
  mounts: [
    { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755", "size=65536k"] },
    {
      destination: "/etc/hosts",
      type: "bind",
      source: "/var/lib/docker/containers/4be1/hosts",
      options: ["rbind", "rprivate"],
    },
  ],
  hooks: {
    prestart: [
      {
        path: "/proc/1234/exe",
        args: ["libnetwork-setkey", "-exec-root=/var/run/docker", "4be1", "9c"],
      },
    ],
  },
  linux: {
    sysctl: { "net.ipv4.ip_unprivileged_port_start": "0" },
    resources: {
      devices: [{ allow: false, access: "rwm" }],
      memory: { limit: 268_435_456, swap: 536_870_912, disableOOMKiller: false },
      cpu: { shares: 0, quota: 150_000, period: 100_000, cpus: "0-1" },
      blockIO: { weight: 0 },
    },
    cgroupsPath: "system.slice:docker:4be1",
    namespaces: [{ type: "mount" }, { type: "network" }, { type: "uts" }, { type: "pid" }, { type: "ipc" }],
    seccomp: { defaultAction: "SCMP_ACT_ERRNO", syscalls: [{ names: ["read"], action: "SCMP_ACT_ALLOW" }] },
  },
};

/** containerd's CRI plugin: annotations of Kubernetes, a relative root, the pod's namespaces by the pause container's pid. */
export const containerdConfig = {
  ociVersion: "1.2.0",
  process: {
    user: { uid: 65_535, gid: 65_535 },
    args: ["/pause"],
    env: null,
    cwd: "/",
    noNewPrivileges: true,
    oomScoreAdj: -998,
  },
  root: { path: "rootfs", readonly: true },
  mounts: [
    { destination: "/etc/resolv.conf", type: "bind", source: "/run/sandboxes/7/resolv.conf", options: null },
  ],
  annotations: {
    "io.kubernetes.cri.container-type": "container",
    "io.kubernetes.cri.image-name": "registry.example/web:1",
    "io.kubernetes.cri.sandbox-id": "77aa",
    "com.urunc.unikernel.unikernelType": "bWlyYWdl",
  },
  linux: {
    resources: { memory: { limit: 0 }, cpu: { shares: 102, quota: -1, period: 100_000 } },
    cgroupsPath: "/kubepods/besteffort/pod12/77aa",
    namespaces: [
      { type: "pid" },
      { type: "ipc", path: "/proc/881/ns/ipc" },
      { type: "network", path: "/proc/881/ns/net" },
      { type: "time" },
    ],
    timeOffsets: { boottime: { secs: 0 } },
  },
};

export const engineConfigs = { podmanConfig, dockerConfig, containerdConfig } as const;

/** Every place in a document, itself first. */
function places(value: unknown, at: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== "object" || value === null) return [at];
  return [at, ...Object.entries(value).flatMap(([key, each]) => places(each, [...at, key]))];
}

function withOther(value: unknown, [key, ...rest]: readonly string[], other: unknown): unknown {
  if (key === undefined) return other;
  if (Array.isArray(value))
    return value.map((each, index) => (String(index) === key ? withOther(each, rest, other) : each));
  const table = Object.entries(value ?? {});
  return Object.fromEntries(
    table.map(([own, each]) => [own, own === key ? withOther(each, rest, other) : each]),
  );
}

/** Text that somebody's parser stumbles over. */
export const hostileText = fc.oneof(
  fc.constantFrom(
    "",
    "..",
    "../..",
    "/..",
    "a b",
    '"',
    "'",
    "\n",
    "\r\n",
    "\0",
    "$(id)",
    "-",
    "--",
    "{args}",
    "\u2028",
  ),
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.integer({ min: 1, max: 1 << 20 }).map((length) => "x".repeat(length)),
);

const hostile = fc.oneof(
  hostileText,
  fc.constantFrom<unknown>(null, true, [], {}, -1, 0.5, 1e300, -1e300, 2 ** 53, 2 ** 63),
  fc.array(hostileText, { maxLength: 3 }),
  fc.json({ maxDepth: 3 }).map((text): unknown => JSON.parse(text)),
);

/** `config` with something hostile at one place, beneath `under` where that is given; absent at times. As JSON carries it. */
export function changed(
  config: object,
  under: readonly string[] = [],
): fc.Arbitrary<{ readonly config: unknown; readonly at: readonly string[] }> {
  const all = places(config).filter((at) => under.length === 0 || under.includes(at[0] ?? ""));
  return fc.tuple(fc.constantFrom(...all), fc.option(hostile, { nil: undefined })).map(([at, other]) => ({
    at,
    config: JSON.parse(JSON.stringify(withOther(config, at, other)) ?? "null") as unknown,
  }));
}
