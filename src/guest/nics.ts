/** The network devices of a guest from the interfaces of its namespace. */

import { TripodError } from "../spec/errors.ts";
import type { NetFacts } from "../spec/protocol.ts";
import type { Nic } from "../spec/values.ts";

/**
 * A device that the guest declares must be attached even when the sandbox has no network: it then gets a tap that leads nowhere, with this
 * address. Locally administered; it never meets another, since each sandbox has a namespace of its own.
 */
const loneMac = (index: number): string => `02:00:00:00:00:${(index + 1).toString(16).padStart(2, "0")}`;
const loneMtu = 1500;

/** Name of the tap of the guest's n-th device in the plan; also its interface's name, hence short. */
export const tapName = (index: number): string => `tap${index}`;

/**
 * One device per declared name: the first interfaces of the namespace in their order, then lone taps. Throws `network-failed` when the namespace has
 * more interfaces than the guest has devices: a network that the guest would never see is an error, not a silence.
 */
export function nicsOf(names: readonly string[], net: NetFacts | undefined): Nic[] {
  const interfaces = net?.interfaces ?? [];
  if (interfaces.length > names.length)
    throw new TripodError(
      "network-failed",
      names.length === 0
        ? "the guest declares no network device, yet a network was asked for"
        : `the guest declares ${names.length} network devices, its network has ${interfaces.length} interfaces`,
      { hint: "--network none" },
    );
  return names.map((name, index) => {
    const found = interfaces[index];
    return {
      name,
      tap: tapName(index),
      mac: found?.mac ?? loneMac(index),
      mtu: found?.mtu ?? loneMtu,
    };
  });
}
