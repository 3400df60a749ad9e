/** What Firecracker is allowed to call, from the warden's exec to its end. */

import type { SeccompProfile } from "../../spec/seccomp.ts";
import { unixSocket, vmmSeccomp, vsockCalls } from "../vmm-seccomp.ts";

const base = vmmSeccomp([
  // Its rate limiters, which are idle here, and its reads of guest memory in use.
  "timerfd_gettime",
  "mincore",
]);

/** `calls`: its guest has a vsock, which ends in a socket. */
export const firecrackerSeccomp = ({ calls }: { readonly calls: boolean }): SeccompProfile =>
  calls
    ? { ...base, allow: [...base.allow, ...vsockCalls], allowIf: [...(base.allowIf ?? []), unixSocket] }
    : base;
