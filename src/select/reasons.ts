/** Why an offer does not run by a monitor: every code with its sentence and its remedy. The table is closed; docs are written from it. */

import type { Reason } from "../spec/values.ts";

interface ReasonEntry {
  /** The sentence; `subject` is what it is about. */
  readonly says: (subject: string) => string;
  /** A command or sentence that changes it, if anything can. */
  readonly remedy?: (subject: string) => string;
}

export const reasonTable = {
  "mode-not-wished": {
    says: (wished) => `--mode ${wished} was asked for`,
    remedy: () => "leave out --mode",
  },
  "monitor-not-wished": {
    says: (wished) => `--monitor ${wished} was asked for`,
    remedy: () => "leave out --monitor",
  },
  "arch-not-wished": {
    says: (wished) => `the architecture ${wished} was asked for`,
    remedy: () => "leave out the wish for an architecture",
  },
  "container-only": {
    says: (flag) => `${flag} has no meaning in a guest`,
    remedy: (flag) => `leave out ${flag}`,
  },
  "demand-forbids": {
    says: (demand) => `the policy demands ${demand}`,
    remedy: () => "change [[policy.demand]] in the configuration",
  },
  "policy-forbids": {
    says: (what) => `the policy's order leaves out ${what}`,
    remedy: (what) => `add "${what}" to policy.order in the configuration`,
  },
  "arch-differs": {
    says: (arch) => `it is built for ${arch}, this machine is not`,
    remedy: (arch) => `run it on an ${arch} machine`,
  },
  "driver-missing": {
    says: (monitor) => `Tripod cannot drive ${monitor} yet`,
  },
  "guest-unsupported": {
    says: (pair) => `${pair} is not a supported pair`,
    remedy: () => "use another build of the image",
  },
  "monitor-arch-unsupported": {
    says: (pair) => `${pair} is not supported`,
  },
  "root-unsupported": {
    says: (why) => why,
    remedy: () => "use another build of the image, or another of its monitors",
  },
  "vsock-unsupported": {
    says: (why) => why,
    remedy: () => "leave out the annotation com.urunc.unikernel.vAccel, or use another monitor",
  },
  "program-missing": {
    says: (why) => why,
    remedy: () => "install the program or set its path in the configuration, then tripod check",
  },
  "runtime-missing": {
    says: (why) => why,
    remedy: () => "apt-get install runc, then tripod check",
  },
  "program-no-network": {
    says: (monitor) =>
      `the ${monitor} program chosen in the configuration cannot take the guest's network device`,
    remedy: (monitor) => `remove monitors.${monitor}.path from the configuration`,
  },
  "kvm-none": {
    says: (evidence) => `it needs KVM (${evidence})`,
    remedy: () => "run on a machine with KVM; tripod check looks again",
  },
  "kvm-tiny": {
    says: () => "KVM runs only tiny guests",
    remedy: (monitor) => `--monitor ${monitor} uses it all the same`,
  },
  "kvm-too-small": {
    says: (guest) => `KVM runs only tiny guests, and ${guest} is none: it would hang without a word`,
    remedy: () => "run on a machine with hardware virtualisation",
  },
  "emulation-forbidden": {
    says: () => "without a KVM that runs Linux it would be emulated in software",
    remedy: (monitor) => `--monitor ${monitor}, or policy.allow_emulation = true`,
  },
  "tun-missing": {
    says: () => "its network device needs /dev/net/tun, which is missing",
    remedy: () => "modprobe tun",
  },
  "cgroups-missing": {
    says: () => "no cgroup hierarchy is mounted",
    remedy: () => "mount cgroups, e.g. mount -t cgroup2 none /sys/fs/cgroup",
  },
  "memory-too-small": {
    says: (need) => `it needs ${need}`,
    remedy: (need) => `-m ${need.split(" ")[0] ?? need}`,
  },
  "memory-too-large": {
    says: (have) => `this machine has ${have} of memory`,
    remedy: () => "ask for less with -m",
  },
} as const satisfies Record<string, ReasonEntry>;

export type ReasonCode = keyof typeof reasonTable;

/** A reason with its remedy filled in. */
export function reason(code: ReasonCode, subject: string): Reason {
  const entry: ReasonEntry = reasonTable[code];
  return entry.remedy === undefined ? { code, subject } : { code, subject, remedy: entry.remedy(subject) };
}

const isReasonCode = (code: string): code is ReasonCode => Object.hasOwn(reasonTable, code);

/** The sentence of a reason, without a full stop. A code that is not in the table is shown as it is. */
export const because = ({ code, subject }: Reason): string =>
  isReasonCode(code) ? reasonTable[code].says(subject) : `${code}: ${subject}`;
