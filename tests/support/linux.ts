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
import { spawnSync } from "node:child_process";
import { basename, dirname, join } from "node:path";
import { runToEnd, tree } from "./tripod.ts";

const modulesByPurpose = {
  mmio: ["virtio_ring", "virtio", "virtio_mmio"],
  pci: ["virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci"],
  disk: ["virtio_blk"],
  virtiofs: ["fuse", "virtiofs"],
  "9p": ["netfs", "fscache", "9pnet", "9pnet_virtio", "9p"],
  vsock: ["vsock", "vmw_vsock_virtio_transport_common", "vmw_vsock_virtio_transport"],
} as const;
export type Purpose = keyof typeof modulesByPurpose;

const wanted: ReadonlySet<string> = new Set([
  "vmlinuz",
  ...Object.values(modulesByPurpose).flatMap((names) => names.map((name) => `${name}.ko`)),
]);

/** A directory with `vmlinuz` and the modules. */
export type LinuxKernel = string;

/** The kernel, fetched and taken out once per tree; undefined where there is no package of it. */
export async function linuxKernel(): Promise<LinuxKernel | undefined> {
  const kept = join(tree, "build/tests/linux");
  if ([...wanted].every((name) => existsSync(join(kept, name)))) return kept;
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
    rmSync(kept, { recursive: true, force: true });
    renameSync(join(work, "taken"), kept);
    return kept;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Of the whole package the kernel and a handful of modules. */
function takeOut(root: string, to: string): void {
  mkdirSync(to);
  for (const file of readdirSync(root, { recursive: true, encoding: "utf8" })) {
    const name = basename(file).startsWith("vmlinuz-") ? "vmlinuz" : basename(file);
    if (wanted.has(name)) copyFileSync(join(root, file), join(to, name));
  }
}

const padded = (bytes: Buffer): Buffer => Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);

/** One member of a cpio archive in the format `newc`. */
function member(name: string, mode: number, content: Buffer): Buffer {
  const fields = [1, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, name.length + 1, 0];
  const head = `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}${name}\0`;
  return Buffer.concat([padded(Buffer.from(head)), padded(content)]);
}

const partsAbove = (path: string): string[] => dirname(path).split("/").slice(1);

/** A program of this machine and what it is linked to, as members at their own places. */
function programMembers(program: string): Buffer[] {
  const { stdout } = spawnSync("ldd", [program], { encoding: "utf8", timeout: 10_000 });
  const paths = [program, ...[...stdout.matchAll(/(\/\S+) \(0x/g)].map(([, path]) => path ?? "")];
  const directories = new Set(
    paths.flatMap((path) => partsAbove(path).map((_, index, all) => all.slice(0, index + 1).join("/"))),
  );
  return [
    ...[...directories].map((name) => member(name, 0o040755, Buffer.alloc(0))),
    ...paths.map((path) => member(path.slice(1), 0o100755, readFileSync(path))),
  ];
}

/** An initrd whose `init` loads modules and then runs a script of busybox's shell, which may call other programs of this machine. */
export function initrdOf(
  kernel: LinuxKernel,
  purposes: readonly Purpose[],
  script: string,
  programs: readonly string[] = [],
): Buffer {
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
    ...programs.flatMap(programMembers),
    member("init", program, Buffer.from(`${init}\n`)),
    member("TRAILER!!!", 0, Buffer.alloc(0)),
  ]);
}
