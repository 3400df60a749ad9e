/** What Firecracker is allowed to call, from the warden's exec to its end. */

import { vmmSeccomp } from "../vmm-seccomp.ts";

export const firecrackerSeccomp = vmmSeccomp([
  // Its rate limiters, which are idle here, and its reads of guest memory in use.
  "timerfd_gettime",
  "mincore",
]);
