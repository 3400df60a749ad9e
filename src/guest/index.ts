/** All guests that Tripod can describe. */

import type { GuestKind } from "../spec/values.ts";
import type { GuestDriver } from "./guest.ts";
import { hermit } from "./hermit.ts";
import { linux } from "./linux/linux.ts";
import { mewz } from "./mewz.ts";
import { mirage } from "./mirage.ts";
import { pvh } from "./pvh.ts";
import { rumprun } from "./rumprun.ts";
import { solo5 } from "./solo5.ts";
import { unikraft } from "./unikraft.ts";

export const guests: readonly GuestDriver[] = [solo5, pvh, linux, unikraft, rumprun, mirage, mewz, hermit];

export const guestDriver = (kind: GuestKind): GuestDriver | undefined =>
  guests.find((guest) => guest.kind === kind);
