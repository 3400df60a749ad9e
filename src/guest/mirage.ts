/** MirageOS on Solo5: its own options first, a pair for each network device that the kernel declares, then the arguments. */

import { bootLineOf, checkCarried } from "./carries.ts";
import type { GuestDriver, GuestInput } from "./guest.ts";
import { linksOf } from "./network.ts";
import { devicesOf, named } from "./solo5.ts";
import { argumentName, quotedNotEmpty } from "./words.ts";

/** The device that its options name without a prefix. */
const defaultNet = "service";
const defaultBlock = "storage";

export const mirage: GuestDriver = {
  kind: "mirage",
  arches: ["amd64", "arm64"],
  roots: ["none", "disk"],
  fileSystems: [],
  carries: { args: true, env: false, ipv6: true, dns: false, nics: 63, disks: 63, user: false, files: false },
  usualMemoryBytes: 256 * 1024 * 1024,
  maxBootLineBytes: 8191,
  boot: (input) => {
    checkCarried(mirage, input);
    const devices = named(input, { net: defaultNet, block: defaultBlock });
    return {
      kernel: input.kernel,
      initrd: [],
      bootLine: bootLineOf(mirage, input, () => words(devices)),
      ...devicesOf(devices),
      shares: [],
    };
  },
};

function words({ net, netDevices, args }: GuestInput): readonly string[] {
  const options = linksOf(net).flatMap(({ v4, v6 }, index) => {
    const name = netDevices[index] ?? defaultNet;
    const prefix = name === defaultNet ? "--" : `--${name}-`;
    // A stack of one family ends on an option of the other: IPv6 is told where there is nothing else.
    const [family, address] = v4 === undefined ? ["ipv6", v6] : ["ipv4", v4];
    if (address === undefined) return [];
    return [
      `${prefix}${family}=${address.address}/${address.prefix}`,
      ...(address.gateway === undefined ? [] : [`${prefix}${family}-gateway=${address.gateway}`]),
    ];
  });
  return [...options, ...args.map((arg, index) => quotedNotEmpty(arg, argumentName(index)))];
}
