/**
 * The monitors `hvt` (a minimal virtual machine by KVM) and `spt` (a process confined by seccomp), both by our tender, to which everything comes as an
 * open fd: its private root stays empty. Or by Solo5's own programs, where the operator chose them: those open everything by
 * path and take a tap by nothing but its name, so guests with a network device do not run by them.
 */

import { TripodError } from "../spec/errors.ts";
import { type HostPath, hostPath, sandboxPath } from "../spec/paths.ts";
import type { MonitorFeatures } from "../spec/support.ts";
import { formatBytes } from "../spec/units.ts";
import type { BindNeed, Launch, Machine, MonitorKind } from "../spec/values.ts";
import { solo5ProgramSeccomp, tenderSeccomp } from "./solo5-seccomp.ts";
import { type MonitorDriver, type ProgramNeeds, type RenderInput, deviceNode, mebibyte } from "./monitor.ts";

/** A kernel is read and mapped in milliseconds; a busy machine may take longer. */
const readyMs = 30_000;

type Kind = Extract<MonitorKind, "hvt" | "spt">;

/** 15 is SIGTERM: both kinds of tender end on it at once; a unikernel has nobody to ask. */
const stop = { signal: 15, deadlineMs: 2000 } as const;
/** The tender itself, its page tables and the kernel's own bookkeeping; `hvt` also fills KVM's second-stage tables. */
const overheadBytes = (machine: Machine): number => 8 * mebibyte + Math.ceil(machine.memoryBytes / 128);

/** Rules of the ABIs: whole MiB; `hvt` maps memory in pages of 2 MiB and at most 4 GiB of it. */
const memoryRules: Readonly<Record<Kind, { readonly stepMib: number; readonly maxMib: number }>> = {
  hvt: { stepMib: 2, maxMib: 4096 },
  // Guest memory begins at the bottom of the tender's own address space, and the tender is loaded above 4 GiB.
  spt: { stepMib: 1, maxMib: 4096 },
};

/** Whether a program is Solo5's own tender: it is known by its name, as the operator configured it. */
export const isSolo5Program = (program: string): boolean => /\/solo5-(hvt|spt)[^/]*$/.test(program);

const solo5Arches = ["amd64", "arm64"] as const;

const features = (kind: Kind, taps: MonitorFeatures["taps"]): MonitorFeatures => ({
  kind,
  // All are binaries of these ABIs; what differs is what they read on their command line.
  guests: { solo5: solo5Arches, mirage: solo5Arches, rumprun: solo5Arches },
  kvm: kind === "hvt" ? "required" : "unused",
  taps,
  shares: [],
});

/** Our tender: static, and given everything by fd. */
export const tender = (kind: Kind): MonitorDriver => ({
  features: features(kind, "fd"),
  needs: () => ({ libraries: false, files: [] }),
  opensKernel: "fd",
  overheadBytes,
  render: (input) => renderTender(kind, input),
});

const dynamic: ProgramNeeds = { libraries: true, files: [] };

/** Solo5's own program. */
export const solo5Program = (kind: Kind): MonitorDriver => ({
  features: features(kind, "none"),
  needs: () => dynamic,
  opensKernel: "path",
  overheadBytes,
  render: (input) => renderSolo5(kind, input),
});

/** MiB of guest memory. Throws when the ABI cannot have that much or so little. */
function memoryMib(kind: Kind, { memoryBytes, vcpus }: Machine): number {
  const { stepMib, maxMib } = memoryRules[kind];
  const mib = Math.floor(memoryBytes / mebibyte / stepMib) * stepMib;
  if (mib < stepMib)
    throw new TripodError("memory-too-small", `${kind} needs at least ${stepMib} MiB of memory`, {
      hint: `-m ${stepMib}m`,
    });
  if (mib > maxMib)
    throw new TripodError(
      "memory-invalid",
      `${kind} guests have at most ${maxMib} MiB of memory, ${formatBytes(memoryBytes)} was asked for`,
      { hint: `-m ${maxMib}m` },
    );
  if (vcpus !== 1)
    throw new TripodError("no-fit", `${kind} guests have one processor, ${vcpus} were asked for`, {
      hint: "leave out default_vcpus",
    });
  return mib;
}

const common = {
  env: [],
  files: [],
  helpers: [],
  scratchBytes: 0,
  stop,
} as const satisfies Partial<Launch>;

function renderTender(kind: Kind, { boot, machine, program }: RenderInput): Launch {
  const options = [`--mem=${memoryMib(kind, machine)}`];
  const opens: Launch["opens"][number][] = [];
  let fd = 3;
  const open = (name: string, path: HostPath, write: boolean): number => {
    opens.push({ name, path, write, at: fd });
    return fd++;
  };
  const kernel = open("kernel", boot.kernel, false);
  if (kind === "hvt") options.push(`--kvm=@${open("kvm", hostPath("/dev/kvm"), true)}`);
  for (const disk of boot.disks) {
    options.push(`--block:${disk.name}=@${open(`block-${disk.name}`, disk.path, !disk.readonly)}`);
    if (disk.sectorBytes !== undefined) options.push(`--block-sector-size:${disk.name}=${disk.sectorBytes}`);
  }
  const taps = boot.nics.map((nic) => ({ name: nic.tap, at: fd++ }));
  for (const [index, nic] of boot.nics.entries())
    options.push(
      `--net:${nic.name}=@${taps[index]?.at ?? -1}`,
      `--net-mac:${nic.name}=${nic.mac}`,
      `--net-mtu:${nic.name}=${nic.mtu}`,
    );
  const ready = fd++;
  options.push(`--ready=@${ready}`);
  return {
    ...common,
    program,
    argv: ["tripod-tender", ...options, `@${kernel}`, ...bootLine(boot.bootLine)],
    opens,
    taps,
    binds: [],
    devices: [],
    seccomp: tenderSeccomp,
    channel: { at: ready, say: "", expect: Buffer.from("ready\n").toString("base64"), deadlineMs: readyMs },
    overheadBytes: overheadBytes(machine),
  };
}

/** The whole line as one argument: the tender joins its arguments with single blanks, which the line already has. */
const bootLine = (line: string): string[] => (line === "" ? [] : [line]);

function renderSolo5(kind: Kind, { boot, machine, program, needs }: RenderInput): Launch {
  const [nic] = boot.nics;
  if (nic !== undefined)
    throw new TripodError("no-fit", `${program} cannot take the guest's network device ${nic.name} from us`, {
      hint: `remove monitors.${kind}.path from the configuration`,
    });
  const disks = boot.disks.map((disk): BindNeed => ({
    from: disk.path,
    at: sandboxPath(`/block-${disk.name}`),
    writable: true,
  }));
  const options = boot.disks.flatMap((disk) => [
    `--block:${disk.name}=/block-${disk.name}`,
    ...(disk.sectorBytes === undefined ? [] : [`--block-sector-size:${disk.name}=${disk.sectorBytes}`]),
  ]);
  return {
    ...common,
    program,
    argv: [
      program.slice(program.lastIndexOf("/") + 1),
      `--mem=${memoryMib(kind, machine)}`,
      ...options,
      "/kernel",
      ...bootLine(boot.bootLine),
    ],
    opens: [],
    taps: [],
    binds: [...needs, { from: boot.kernel, at: sandboxPath("/kernel") }, ...disks],
    devices: kind === "hvt" ? [deviceNode("/dev/kvm")] : [],
    seccomp: solo5ProgramSeccomp,
    overheadBytes: overheadBytes(machine),
  };
}
