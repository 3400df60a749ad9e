/** The one check of what a guest can be given, and the one way to its boot line. */

import { TripodError } from "../spec/errors.ts";
import type { MonitorKind } from "../spec/values.ts";
import { checkedLine, expandBootLine } from "./boot-line.ts";
import type { GuestDriver, GuestInput } from "./guest.ts";
import { linksOf } from "./network.ts";

/**
 * Refuses what a guest of this kind cannot have: arguments and variables that were asked for (`usage`), a network of more interfaces or of a family that it
 * does not speak (`network-failed`), a kind of root and disks (`no-fit`).
 */
export function checkCarried({ kind, carries, roots }: GuestDriver, input: GuestInput): void {
  const { offer, wished, net, root } = input;
  const hint = "leave them out, or run the image with --mode container";
  if (offer.bootLine === undefined) {
    const [variable] = wished?.env ?? [];
    if (!carries.args && (wished?.args.length ?? 0) > 0)
      throw new TripodError("usage", `${kind} guests take no arguments`, { hint });
    if (!carries.env && variable !== undefined)
      throw new TripodError(
        "usage",
        `${kind} guests take no variables, yet ${variable.split("=")[0]} was given`,
        { hint },
      );
  }
  if (!roots.includes(root.kind))
    throw new TripodError("no-fit", `${kind} guests cannot have their root on ${root.kind}`);
  const disks = input.mounts.length + input.disks.length + (root.kind === "disk" ? 1 : 0);
  if (disks > carries.disks)
    throw new TripodError(
      "no-fit",
      carries.disks === 0
        ? `${kind} guests have no disks, yet ${disks} would be needed`
        : `${kind} guests have at most ${carries.disks === 1 ? "one disk" : `${carries.disks} disks`}, yet ${disks} would be needed`,
    );
  const links = linksOf(net);
  if (links.length > carries.nics)
    throw new TripodError(
      "network-failed",
      `the network has ${links.length} interfaces, ${kind} guests have at most ${carries.nics}`,
      { hint: "--network none" },
    );
  const onlyV6 = links.find(({ v4, v6 }) => v4 === undefined && v6 !== undefined);
  if (!carries.ipv6 && onlyV6 !== undefined)
    throw new TripodError(
      "network-failed",
      `${onlyV6.name} has no IPv4 address, and ${kind} guests are told of no other`,
      { hint: "give the network an IPv4 subnet, or --network none" },
    );
}

/** Their loaders copy a line of printable ASCII only. */
const asciiMonitors: readonly MonitorKind[] = ["firecracker", "cloud-hypervisor"];

/** The line by the image's template or else by `words`. Throws as both do, and `usage` for a line that its monitor does not carry. */
export function bootLineOf(
  { maxBootLineBytes }: GuestDriver,
  input: GuestInput,
  words: () => readonly string[],
): string {
  const { offer, monitor } = input;
  const line =
    offer.bootLine === undefined
      ? checkedLine(words().join(" "), maxBootLineBytes)
      : expandBootLine(offer.bootLine, input, maxBootLineBytes);
  const foreign = asciiMonitors.includes(monitor)
    ? line.split(" ").find((word) => !/^[\x21-\x7e]*$/.test(word))
    : undefined;
  if (foreign !== undefined)
    throw new TripodError(
      "usage",
      `${JSON.stringify(foreign.slice(0, 80))} is not plain ASCII, and ${monitor} carries no other boot line`,
      { hint: "give it in ASCII, or --monitor qemu" },
    );
  return line;
}
