/** A Linux guest: Debian's kernel, taken out of its package, and an initrd of busybox and the modules that it asks for. */

import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
} from "node:fs";
import { basename, join } from "node:path";
import { runToEnd, tree } from "./tripod.ts";

const modulesByPurpose = {
  mmio: ["virtio_ring", "virtio", "virtio_mmio"],
  pci: ["virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci"],
  disk: ["virtio_blk"],
  virtiofs: ["fuse", "virtiofs"],
  "9p": ["netfs", "fscache", "9pnet", "9pnet_virtio", "9p"],
} as const;
export type Purpose = keyof typeof modulesByPurpose;

/** A directory with `vmlinuz` and the modules. */
export type LinuxKernel = string;

/** The kernel, fetched and taken out once per tree; undefined where there is no package of it. */
export async function linuxKernel(): Promise<LinuxKernel | undefined> {
  const kept = join(tree, "build/tests/linux");
  if (existsSync(kept)) return kept;
  const depends = await runToEnd("apt-cache", ["depends", "linux-image-amd64"]);
  const name = /Depends: (linux-image-\S+-amd64)/.exec(depends.stdout)?.[1];
  if (name === undefined) return undefined;
  mkdirSync(join(tree, "build/tests"), { recursive: true });
  const work = mkdtempSync(join(tree, "build/tests/.linux-"));
  try {
    const fetched = await runToEnd("env", ["-C", work, "apt-get", "download", name], { timeoutMs: 120_000 });
    const [file] = readdirSync(work);
    if (fetched.code !== 0 || file === undefined) return undefined;
    const root = join(work, "root");
    const unpacked = await runToEnd("dpkg", ["-x", join(work, file), root], { timeoutMs: 120_000 });
    if (unpacked.code !== 0) throw new Error(`dpkg -x ${file}: ${unpacked.stderr}`);
    takeOut(root, join(work, "taken"));
    renameSync(join(work, "taken"), kept);
    return kept;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Of the whole package the kernel and a handful of modules. */
function takeOut(root: string, to: string): void {
  mkdirSync(to);
  const wanted = new Map(
    Object.values(modulesByPurpose)
      .flat()
      .map((name) => [`${name}.ko`, `${name}.ko`]),
  );
  for (const file of readdirSync(root, { recursive: true, encoding: "utf8" })) {
    const name = basename(file).startsWith("vmlinuz-") ? "vmlinuz" : wanted.get(basename(file));
    if (name !== undefined) copyFileSync(join(root, file), join(to, name));
  }
}

const padded = (bytes: Buffer): Buffer => Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);

/** One member of a cpio archive in the format `newc`. */
function member(name: string, mode: number, content: Buffer): Buffer {
  const fields = [1, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, name.length + 1, 0];
  const head = `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}${name}\0`;
  return Buffer.concat([padded(Buffer.from(head)), padded(content)]);
}

/** An initrd whose `init` loads modules and then runs a script of busybox's shell. */
export function initrdOf(kernel: LinuxKernel, purposes: readonly Purpose[], script: string): Buffer {
  const modules = purposes.flatMap((purpose) => [...modulesByPurpose[purpose]]);
  const init = [
    "#!/bin/busybox sh",
    "export PATH=/bin",
    "/bin/busybox --install -s /bin",
    ...["proc", "sysfs", "devtmpfs"].map(
      (kind, index) => `mount -t ${kind} none /${["proc", "sys", "dev"][index]}`,
    ),
    ...modules.map((name) => `insmod /modules/${name}.ko`),
    script,
    "poweroff -f",
  ].join("\n");
  const directory = 0o040755;
  const program = 0o100755;
  return Buffer.concat([
    ...["bin", "proc", "sys", "dev", "modules", "mnt"].map((name) =>
      member(name, directory, Buffer.alloc(0)),
    ),
    member("bin/busybox", program, readFileSync("/bin/busybox")),
    ...modules.map((name) =>
      member(`modules/${name}.ko`, 0o100644, readFileSync(join(kernel, `${name}.ko`))),
    ),
    member("init", program, Buffer.from(`${init}\n`)),
    member("TRAILER!!!", 0, Buffer.alloc(0)),
  ]);
}
