/**
 * Seccomp filters: an allow-list of system call names compiled to a classic BPF program (seccomp(2), linux/filter.h), which the warden installs
 * as it is. Whatever is on no list kills the process; so do another architecture's calls and x32's.
 */

import { type SyscallName, syscallNumbers } from "./syscalls.ts";
import type { Base64 } from "./plan.ts";
import type { Arch } from "./values.ts";

/** A call allowed only when bits of an argument are as wanted; only its low 32 bits are looked at. */
export interface ArgumentRule {
  readonly name: SyscallName;
  readonly argument: 0 | 1 | 2 | 3 | 4 | 5;
  readonly mask: number;
  readonly equals: number;
}

export interface SeccompProfile {
  readonly allow: readonly SyscallName[];
  readonly allowIf?: readonly ArgumentRule[];
  /** Answered with ENOSYS, as a kernel without the call would: for calls that a program tries and can do without. */
  readonly refuse?: readonly SyscallName[];
}

/** One `struct sock_filter`. */
interface Instruction {
  readonly code: number;
  readonly jt: number;
  readonly jf: number;
  readonly k: number;
}

const loadWord = 0x20;
const jump = 0x05;
const jumpIfEqual = 0x15;
const jumpIfAtLeast = 0x35;
const and = 0x54;
const giveBack = 0x06;

const killProcess = 0x8000_0000;
const allowCall = 0x7fff_0000;
const enosys = 38;
const failWithEnosys = 0x0005_0000 | enosys;

/** AUDIT_ARCH_X86_64 and AUDIT_ARCH_AARCH64 of linux/audit.h. */
const auditArch: Readonly<Record<Arch, number>> = { amd64: 0xc000_003e, arm64: 0xc000_00b7 };
/** On x86_64 every number from here on is an x32 call. */
const x32Bit = 0x4000_0000;

/** Offsets in `struct seccomp_data`. */
const offsetNumber = 0;
const offsetArch = 4;
const offsetArgument = (index: number): number => 16 + 8 * index;

const instruction = (code: number, k: number, jt = 0, jf = 0): Instruction => ({ code, jt, jf, k });
const answer = (action: number): Instruction[] => [instruction(giveBack, action)];

const checkArgument = ({ argument, mask, equals }: ArgumentRule): Instruction[] => [
  instruction(loadWord, offsetArgument(argument)),
  instruction(and, mask >>> 0),
  instruction(jumpIfEqual, equals >>> 0, 0, 1),
  ...answer(allowCall),
  ...answer(killProcess),
];

/** From `start` to the next segment's start every call number ends in the same code. */
interface Segment {
  readonly start: number;
  readonly leaf: readonly Instruction[];
}

const compiled = new WeakMap<SeccompProfile, Map<Arch, Base64>>();

/**
 * Compiles a profile for one architecture, once: a profile is a constant. Names that the architecture does not have are left out. Throws `TypeError` when a
 * name is on two lists: a bug of the profile.
 */
export function compileSeccomp(profile: SeccompProfile, arch: Arch): Base64 {
  const programs = compiled.get(profile) ?? new Map<Arch, Base64>();
  const program = programs.get(arch) ?? compile(profile, arch);
  compiled.set(profile, programs.set(arch, program));
  return program;
}

function compile(profile: SeccompProfile, arch: Arch): Base64 {
  const program = [
    instruction(loadWord, offsetArch),
    instruction(jumpIfEqual, auditArch[arch], 1, 0),
    ...answer(killProcess),
    instruction(loadWord, offsetNumber),
    ...search(segmentsOf(profile, arch)),
  ];
  const bytes = Buffer.alloc(program.length * 8);
  for (const [index, { code, jt, jf, k }] of program.entries()) {
    bytes.writeUInt16LE(code, index * 8);
    bytes.writeUInt8(jt, index * 8 + 2);
    bytes.writeUInt8(jf, index * 8 + 3);
    bytes.writeUInt32LE(k, index * 8 + 4);
  }
  return bytes.toString("base64");
}

function segmentsOf(profile: SeccompProfile, arch: Arch): Segment[] {
  const leaves = new Map<number, readonly Instruction[]>();
  const named = new Set<SyscallName>();
  const put = (name: SyscallName, leaf: readonly Instruction[]): void => {
    if (named.has(name)) throw new TypeError(`seccomp: ${name} is listed twice`);
    named.add(name);
    const number = syscallNumbers[name][arch === "amd64" ? 0 : 1];
    if (number >= 0) leaves.set(number, leaf);
  };
  const allowed = answer(allowCall);
  const refused = answer(failWithEnosys);
  const killed = answer(killProcess);
  for (const name of profile.allow) put(name, allowed);
  for (const name of profile.refuse ?? []) put(name, refused);
  for (const rule of profile.allowIf ?? []) put(rule.name, checkArgument(rule));

  const segments: Segment[] = [{ start: 0, leaf: killed }];
  const add = (start: number, leaf: readonly Instruction[]): void => {
    const last = segments.at(-1);
    if (last?.start === start) segments.pop();
    if (segments.at(-1)?.leaf !== leaf) segments.push({ start, leaf });
  };
  for (const [number, leaf] of [...leaves].toSorted(([a], [b]) => a - b)) {
    add(number, leaf);
    add(number + 1, killed);
  }
  // The last segment kills, and so takes the x32 numbers in; said anyway, so that no list can ever reach them.
  if (arch === "amd64") add(x32Bit, killed);
  return segments;
}

/** A binary search over the segments. Jump offsets are 8 bits wide, so a longer way goes over a jump of its own. */
function search(segments: readonly Segment[]): readonly Instruction[] {
  const middle = segments[segments.length >> 1];
  if (segments.length < 2 || middle === undefined) return segments[0]?.leaf ?? answer(killProcess);
  const below = search(segments.slice(0, segments.length >> 1));
  const above = search(segments.slice(segments.length >> 1));
  return below.length <= 255
    ? [instruction(jumpIfAtLeast, middle.start, below.length, 0), ...below, ...above]
    : [instruction(jumpIfAtLeast, middle.start, 0, 1), instruction(jump, below.length), ...below, ...above];
}
