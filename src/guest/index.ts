/** All guests that Tripod can describe. */

import type { GuestKind } from "../spec/values.ts";
import type { GuestDriver } from "./guest.ts";
import { pvh } from "./pvh.ts";
import { solo5 } from "./solo5.ts";

export const guests: readonly GuestDriver[] = [solo5, pvh];

export const guestDriver = (kind: GuestKind): GuestDriver | undefined =>
  guests.find((guest) => guest.kind === kind);
