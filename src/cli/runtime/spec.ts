/** `spec`: a `config.json` that works, to be changed. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { defaultCapabilities } from "../../spec/bundle.ts";
import { TripodError, errnoOf } from "../../spec/errors.ts";
import { type Verb, noArguments } from "./answer.ts";

const mount = (destination: string, type: string, options: readonly string[]): object => ({
  destination,
  type,
  source: type,
  options,
});

/** For a container; of a unikernel its arguments, environment, limits and network namespace count. */
const config = {
  // What every runtime below understands.
  ociVersion: "1.0.2",
  process: {
    terminal: true,
    user: { uid: 0, gid: 0 },
    args: ["sh"],
    env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
    cwd: "/",
    capabilities: {
      bounding: defaultCapabilities,
      effective: defaultCapabilities,
      permitted: defaultCapabilities,
    },
    noNewPrivileges: true,
  },
  root: { path: "rootfs", readonly: true },
  hostname: "tripod",
  mounts: [
    mount("/proc", "proc", ["nosuid", "noexec", "nodev"]),
    mount("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
    mount("/dev/pts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
    mount("/dev/shm", "tmpfs", ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
    mount("/dev/mqueue", "mqueue", ["nosuid", "noexec", "nodev"]),
    mount("/sys", "sysfs", ["nosuid", "noexec", "nodev", "ro"]),
  ],
  linux: {
    resources: { devices: [{ allow: false, access: "rwm" }] },
    namespaces: ["pid", "network", "ipc", "uts", "mount"].map((type) => ({ type })),
    maskedPaths: ["/proc/kcore", "/proc/keys", "/proc/sched_debug", "/proc/timer_list", "/sys/firmware"],
    readonlyPaths: ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
  },
};

export const spec: Verb = async (call) => {
  noArguments(call);
  if (call.flags["rootless"] === true)
    throw new TripodError("usage", "spec --rootless: unikernels and their cgroups need root", {
      hint: "runc spec --rootless writes one for containers",
    });
  const { bundle } = call.flags;
  const file = join(typeof bundle === "string" ? bundle : ".", "config.json");
  try {
    writeFileSync(file, `${JSON.stringify(config, undefined, 2)}\n`, { flag: "wx", mode: 0o666 });
  } catch (cause) {
    if (errnoOf(cause) === "EEXIST")
      throw new TripodError("usage", "File config.json exists. Remove it first", { cause });
    throw new TripodError("usage", `${file} cannot be written: ${errnoOf(cause) ?? String(cause)}`, {
      cause,
    });
  }
};
