/** What Cloud Hypervisor is allowed to call, from the warden's exec to its end. */

import type { SeccompProfile } from "../../spec/seccomp.ts";
import type { SyscallName } from "../../spec/syscalls.ts";
import { vmmSeccomp } from "../vmm-seccomp.ts";

/** The connection to a server of files. */
const connection: readonly SyscallName[] = ["connect", "recvmsg", "sendmsg", "getsockopt"];

const familyUnix = 1;
const base = vmmSeccomp([
  // Signals come to its threads by a pair of sockets.
  "socketpair",
  "sendto",
  "recvfrom",
  "shutdown",
  "umask",
  "fallocate",
]);

/** A socket of no network's: only to ask for a tap's MTU and to speak to a server of files. */
export const cloudHypervisorSeccomp = ({ connects }: { readonly connects: boolean }): SeccompProfile => ({
  ...base,
  allow: [...base.allow, ...(connects ? connection : [])],
  allowIf: [...(base.allowIf ?? []), { name: "socket", argument: 0, mask: 0xffff_ffff, equals: familyUnix }],
});
