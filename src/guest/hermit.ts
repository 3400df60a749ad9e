/** Hermit: the image's kernel is Hermit's loader, its initrd the program. */

import { bootLineOf, checkCarried } from "./carries.ts";
import type { GuestDriver } from "./guest.ts";
import { linksOf } from "./network.ts";
import { nicsOf } from "./nics.ts";
import { argumentName, quoted } from "./words.ts";

export const hermit: GuestDriver = {
  kind: "hermit",
  arches: ["amd64"],
  roots: ["initrd"],
  fileSystems: [],
  carries: { args: true, env: false, ipv6: false, dns: false, nics: 1, disks: 0, user: false, files: false },
  usualMemoryBytes: 256 * 1024 * 1024,
  maxBootLineBytes: 2047,
  boot: (input) => {
    checkCarried(hermit, input);
    const { root, args, net } = input;
    const [link] = linksOf(net);
    return {
      kernel: input.kernel,
      initrd: root.kind === "initrd" ? [{ path: root.path }] : [],
      bootLine: bootLineOf(hermit, input, () => {
        const v4 = link?.v4;
        return [
          ...(v4 === undefined ? [] : [`ip=${v4.address}/${v4.prefix}`]),
          ...(v4?.gateway === undefined ? [] : [`gateway=${v4.gateway}`]),
          "--",
          ...args.map((arg, index) => quoted(arg, argumentName(index))),
        ];
      }),
      disks: [],
      nics: nicsOf(link === undefined ? [] : [link.name], net),
      shares: [],
    };
  },
};
