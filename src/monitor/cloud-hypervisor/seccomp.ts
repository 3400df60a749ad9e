/** What Cloud Hypervisor is allowed to call, from the warden's exec to its end. */

import type { SeccompProfile } from "../../spec/seccomp.ts";
import type { SyscallName } from "../../spec/syscalls.ts";
import { unixSocket, vmmSeccomp, vsockCalls } from "../vmm-seccomp.ts";

/** The connection to a server of files. */
const connection: readonly SyscallName[] = ["connect", "recvmsg", "sendmsg", "getsockopt"];

/** It takes its own socket away as it ends. */
const removal: readonly SyscallName[] = ["unlink", "unlinkat"];

const base = vmmSeccomp([
  // Signals come to its threads by a pair of sockets.
  "socketpair",
  "sendto",
  "recvfrom",
  "shutdown",
  "umask",
  "fallocate",
]);

/** Sockets are made to ask for a tap's MTU, to speak to a server of files (`connects`), and as the end of a guest's vsock (`calls`). */
export const cloudHypervisorSeccomp = ({
  connects,
  calls,
}: {
  readonly connects: boolean;
  readonly calls: boolean;
}): SeccompProfile => ({
  ...base,
  allow: [
    ...new Set([
      ...base.allow,
      ...(connects ? connection : []),
      ...(calls ? [...vsockCalls, ...removal] : []),
    ]),
  ],
  allowIf: [...(base.allowIf ?? []), unixSocket],
});
