/** The programs that matter to us, where they are, and which version they say they have. */

import type { HostPath } from "../../spec/paths.ts";
import type { Arch, Found, MonitorKind, OciRuntimeKind } from "../../spec/values.ts";
import { TripodError } from "../../spec/errors.ts";
import { statIfSeen } from "../stat-if-seen.ts";
import { runProgram, which } from "../process.ts";
import type { OtherProgram, ProbeInput } from "./fact.ts";

/** Everything that is looked for by name. */
export type ProgramName = MonitorKind | OciRuntimeKind | OtherProgram;

/** The first QEMU that had a virtiofsd of its own; the one written in Rust counts from 1. */
const oldestQemuVersion = 5;

/** Milliseconds that a program has for telling its version. */
const versionDeadlineMs = 5000;

const fileName = (name: ProgramName, arch: Arch): string => {
  if (name === "qemu") return arch === "amd64" ? "qemu-system-x86_64" : "qemu-system-aarch64";
  return name;
};

/** Where each program is, by the operator's configuration, our own tree or the search directories; nothing is started. */
export function findPrograms(input: ProbeInput, arch: Arch): ReadonlyMap<ProgramName, HostPath | undefined> {
  const found = new Map<ProgramName, HostPath | undefined>();
  const look = (name: ProgramName): HostPath | undefined => which(fileName(name, arch), input.dirs);
  const monitor = (kind: MonitorKind, otherwise: () => HostPath | undefined): void => {
    const configured = input.monitorPaths[kind];
    found.set(kind, configured === undefined ? otherwise() : which(configured, []));
  };
  const tender = (): HostPath | undefined => which(input.programs.tender, []);
  monitor("hvt", tender);
  monitor("spt", tender);
  for (const kind of ["qemu", "firecracker", "cloud-hypervisor"] as const) monitor(kind, () => look(kind));
  for (const name of ["runc", "crun", "solo5-hvt", "solo5-spt", "iptables"] as const)
    found.set(name, look(name));
  // Distributions keep it beside the programs for people.
  found.set("virtiofsd", which("virtiofsd", [...input.dirs, "/usr/libexec", "/usr/lib"]));
  return found;
}

/** Tells two versions of one file apart: path, device, inode, size and times. A missing file has a mark too. */
export function fileMark(path: string): string {
  const stat = statIfSeen(path);
  if (stat === undefined) return `${path} -`;
  // A device node's times change with use; its numbers are what it is.
  if (stat.isCharacterDevice()) return `${path} c${stat.rdev} ${stat.ino} ${stat.mode} ${stat.uid}`;
  return `${path} ${stat.dev}:${stat.ino} ${stat.size} ${stat.mtimeMs} ${stat.ctimeMs} ${stat.mode}`;
}

/** Why a program that was looked for is not there. */
export function notFound(input: ProbeInput, name: ProgramName, arch: Arch): Found {
  const configured = monitorPath(input, name);
  if (configured !== undefined)
    return { missing: `${configured}, named by the configuration, is not an executable file` };
  if (name === "hvt" || name === "spt")
    return { missing: `${input.programs.tender} is not an executable file` };
  return { missing: `${fileName(name, arch)} is neither on PATH nor in a standard directory` };
}

const monitorPath = (input: ProbeInput, name: ProgramName): HostPath | undefined =>
  Object.entries(input.monitorPaths).find(([kind]) => kind === name)?.[1];

/**
 * Starts `path --version` and reads the version from what it says. A program that cannot be started, hangs or says nothing is missing,
 * with the reason.
 */
export async function programVersion(path: HostPath): Promise<Found> {
  try {
    const result = await runProgram(path, ["--version"], {
      deadlineMs: versionDeadlineMs,
      maxOutputBytes: 64 << 10,
    });
    // Solo5's tenders say it on stderr.
    const version = versionIn(result.stdout) ?? versionIn(result.stderr);
    if (result.code === 0 && version !== undefined) return { path, version };
    const said = (result.stderr.trim() || result.stdout.trim()).split("\n", 1)[0] ?? "";
    return {
      missing: `${path} --version ended with ${result.code}${said === "" ? "" : `: ${said.slice(0, 200)}`}`,
    };
  } catch (error) {
    if (error instanceof TripodError) return { missing: error.message };
    throw error;
  }
}

/** As `programVersion`, of virtiofsd. QEMU's own, which has QEMU's version, is none to us: it wants to be root. */
export async function shareServerVersion(path: HostPath): Promise<Found> {
  const found = await programVersion(path);
  if (!("version" in found) || Number.parseInt(found.version, 10) < oldestQemuVersion) return found;
  return { missing: `${path} is QEMU's own, which runs only as root; the one written in Rust does not` };
}

/** The first thing in a text that looks like a version: `1.1.5+ds1`, `v1.16.1`, `7.2.22`. */
export function versionIn(text: string): string | undefined {
  return /(?<![\w.])v?(\d+(?:\.\d+)+[\w.+~-]*)/.exec(text.slice(0, 4096))?.[1]?.replace(/[.,)-]+$/, "");
}
