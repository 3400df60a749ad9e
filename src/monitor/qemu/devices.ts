/** QEMU's words for one disk, network device or directory. */

import { type SandboxPath, sandboxPath } from "../../spec/paths.ts";
import { type BindNeed, type Disk, type Nic, type Share, isReadonlyTree } from "../../spec/values.ts";
import { treeBind } from "../share-server.ts";
import type { QemuGuest, QemuMachine } from "./machines.ts";

type Bus = QemuMachine["bus"];

/** A comma ends a value in QEMU's options; a doubled one stands for itself. */
const value = (text: string): string => text.replaceAll(",", ",,");

/** An fd set of one, so that QEMU never opens a path. No locks: the file is this sandbox's alone, and its fd cannot be reopened for one. A block device has a driver of its own. */
export function diskArguments(
  { name, readonly, sectorBytes, device }: Disk,
  { index, at, bus }: { readonly index: number; readonly at: number; readonly bus: Bus },
): string[] {
  const sector =
    sectorBytes === undefined ? "" : `,logical_block_size=${sectorBytes},physical_block_size=${sectorBytes}`;
  return [
    "-add-fd",
    `fd=${at},set=${at}`,
    "-blockdev",
    `driver=${device === true ? "host_device" : "file"},node-name=file${index},filename=/dev/fdset/${at},locking=off,read-only=${readonly ? "on" : "off"}`,
    "-device",
    `virtio-blk-${bus},drive=file${index},serial=${value(name)}${sector}`,
  ];
}

/** Without a boot ROM: a guest never starts from the network. */
export function nicArguments(
  { mac, mtu }: Nic,
  {
    index,
    at,
    bus,
    guest,
  }: { readonly index: number; readonly at: number; readonly bus: Bus; readonly guest: QemuGuest },
): string[] {
  const rom = bus === "pci" ? ",romfile=" : "";
  const size = guest.mtu ? `,host_mtu=${mtu}` : "";
  return [
    "-netdev",
    `tap,id=net${index},fd=${at}`,
    "-device",
    `virtio-net-${bus},netdev=net${index},mac=${mac}${size}${guest.nic}${rom}`,
  ];
}

const sharePath = (index: number): SandboxPath => sandboxPath(`/share-${index}`);

/** A directory that QEMU itself serves, in its private root. */
export const shareBind = (share: Share, index: number): BindNeed => treeBind(share, sharePath(index));

/**
 * A directory, by virtiofs from a server behind an fd, or by 9p from QEMU itself as the user that it is. `none`: the guest sees files with the owners and modes
 * that they have; what this user may not do fails. The mapped models would not follow the symbolic links of an ordinary tree. `remap`: a tree with other
 * file systems in it keeps its inodes apart.
 */
export function shareArguments(
  share: Share,
  { index, at, bus }: { readonly index: number; readonly at: number | undefined; readonly bus: Bus },
): string[] {
  if (at !== undefined)
    return [
      "-chardev",
      `socket,id=share${index},fd=${at}`,
      "-device",
      `vhost-user-fs-${bus},chardev=share${index},tag=${value(share.tag)},queue-size=1024`,
    ];
  return [
    "-fsdev",
    `local,id=share${index},path=${sharePath(index)},security_model=none,multidevs=remap,readonly=${isReadonlyTree(share) ? "on" : "off"}`,
    "-device",
    `virtio-9p-${bus},fsdev=share${index},mount_tag=${value(share.tag)}`,
  ];
}
