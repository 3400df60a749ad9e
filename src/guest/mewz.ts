/** Mewz: a WebAssembly module within its kernel. It is told its network and nothing else. */

import { bootLineOf, checkCarried } from "./carries.ts";
import type { GuestDriver } from "./guest.ts";
import { linksOf, servers4 } from "./network.ts";
import { nicsOf } from "./nics.ts";

export const mewz: GuestDriver = {
  kind: "mewz",
  arches: ["amd64"],
  roots: ["none"],
  fileSystems: [],
  carries: { args: false, env: false, ipv6: false, dns: true, nics: 1, disks: 0, user: false, files: false },
  minMemoryBytes: 512 * 1024 * 1024,
  maxBootLineBytes: 2047,
  boot: (input) => {
    checkCarried(mewz, input);
    const [link] = linksOf(input.net);
    return {
      kernel: input.kernel,
      initrd: [],
      bootLine: bootLineOf(mewz, input, () => {
        const v4 = link?.v4;
        if (v4 === undefined) return [];
        const [server] = servers4(input.net);
        return [
          `ip=${v4.address}/${v4.prefix}`,
          // Without a gateway it leaves its network off, also where none is needed: then its own address stands for none.
          `gateway=${v4.gateway ?? v4.address}`,
          ...(server === undefined ? [] : [`dns=${server}`]),
        ];
      }),
      disks: [],
      nics: nicsOf(link === undefined ? [] : [link.name], input.net),
      shares: [],
    };
  },
};
