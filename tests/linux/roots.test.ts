/**
 * Linux with its root on everything that it can lie on, by QEMU, from a bundle and from an image to the exit status of the program within. The kernel is
 * one of our own configuration (script/build-test-kernel): a distribution's has the drivers of its root as modules.
 */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { which } from "../../src/host/process.ts";
import { buildImage } from "../../src/image/build.ts";
import { readRecipe } from "../../src/image/recipe.ts";
import { openStore } from "../../src/image/store.ts";
import { hostPath } from "../../src/spec/paths.ts";
import { type Config, type RuntimeLab, assertNothingStands, makeRuntimeLab } from "../support/bundles.ts";
import { requires } from "../support/requires.ts";
import { makeLab, tree } from "../support/tripod.ts";

/** A share is by virtiofs where its server is. */
const share =
  which("virtiofsd", [...(process.env["PATH"] ?? "").split(":"), "/usr/libexec"]) === undefined
    ? "9p"
    : "virtiofs";
const kernel = join(tree, "build/tests/kernel/bzImage");
const busybox = "/bin/busybox";
const init = join(tree, "bin/tripod-init");
const deadline = { timeout: 180_000 };

/** What the program in the guest is told to do: it looks at its root, writes into it, and ends with a status of its own. */
const script = [
  `echo "root $(awk '$2 == "/" { print $3 }' /proc/mounts | tail -n 1)"`,
  'cat /greeting; echo "variable $WORD"; echo "user $(id -u)"; echo "directory $(pwd)"',
  "cat /secret 2>/dev/null || echo secret refused",
  "grep -q guest /open/new 2>/dev/null && echo not the first; echo by the guest >> /open/new && cat /open/new",
  "exit 7",
];

const ran = (said: string, root: string): void => {
  const lines = said.split("\n").map((line) => line.trimEnd());
  assert.ok(!lines.includes("not the first"), said);
  for (const line of [`root ${root}`, "hello from the root", "variable two words", "by the guest"])
    assert.ok(lines.includes(line), `${line}: ${said}`);
};

/** A root file system: busybox and what the script asks for. The directory `open` is anybody's. */
function fill(root: string): void {
  for (const name of ["bin", "proc", "sys", "dev", "open"]) mkdirSync(join(root, name), { recursive: true });
  chmodSync(join(root, "open"), 0o777);
  copyFileSync(busybox, join(root, "bin/busybox"));
  writeFileSync(join(root, "greeting"), "hello from the root\n");
  writeFileSync(join(root, "secret"), "of root's\n", { mode: 0o600 });
  writeFileSync(join(root, "script"), `${script.join("\n")}\n`);
  copyFileSync(init, join(root, "init"));
  chmodSync(join(root, "init"), 0o755);
}

const urunc = (more: Readonly<Record<string, string>>): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries({ unikernelType: "linux", hypervisor: "qemu", binary: "/kernel", ...more }).map(
      ([key, value]) => [`com.urunc.unikernel.${key}`, value],
    ),
  );

/** A bundle as an engine makes it of an image of urunc's, which has a first process of its own. */
function bundleOf(lab: RuntimeLab, annotations: Readonly<Record<string, string>>): string {
  const bundle = lab.container("", (config: Config) => {
    config["process"] = {
      terminal: false,
      user: { uid: 0, gid: 0 },
      args: ["/init", "/bin/busybox", "sh", "/script"],
      // What our first process takes from its environment, and the kernel takes from its command line.
      env: ["PATH=/bin", "WORD=two words", "TRIPOD_EXIT_PORT=0x501"],
      cwd: "/",
    };
    config["root"] = { path: "rootfs" };
    config["annotations"] = annotations;
  });
  fill(join(bundle, "rootfs"));
  copyFileSync(kernel, join(bundle, "rootfs/kernel"));
  return bundle;
}

function ready(t: TestContext): boolean {
  return process.arch === "x64" && requires(t, "the tests' Linux kernel", existsSync(kernel));
}

/** `mounted`: the test's own mount of the root file system stands afterwards. */
async function runs(lab: RuntimeLab, bundle: string, root: string, mounted = false): Promise<string> {
  const { code, stderr } = await lab.run(["run", "--bundle", bundle, "guest"], { timeoutMs: 120_000 });
  ran(stderr, root);
  assert.equal(code, 7, stderr);
  if (!mounted) await assertNothingStands(lab, "after the run");
  return stderr;
}

test(
  `the bundle's root file system is the guest's, by ${share}, with the rights of the monitor's user`,
  deadline,
  async (t) => {
    if (!ready(t)) return;
    const lab = makeRuntimeLab(t);
    const bundle = bundleOf(lab, urunc({ mountRootfs: "true" }));
    const said = await runs(lab, bundle, share);
    assert.match(said, /secret refused/);
    assert.equal(readFileSync(join(bundle, "rootfs/open/new"), "utf8"), "by the guest\n");
  },
);

test("a disk image in the bundle is the guest's root", deadline, async (t) => {
  if (!ready(t)) return;
  const lab = makeRuntimeLab(t);
  const bundle = bundleOf(lab, urunc({ block: "/root.img", blkMntPoint: "/" }));
  const content = join(lab.dir, "content");
  fill(content);
  diskOf(content, join(bundle, "rootfs/root.img"));
  const said = await runs(lab, bundle, "ext4");
  // The guest's root is its own: there it may read what is root's.
  assert.match(said, /of root's/);
});

test(
  "the block device that the bundle's root file system lies on is the guest's root",
  deadline,
  async (t) => {
    if (!ready(t) || !requires(t, "loop devices", existsSync("/dev/loop-control"))) return;
    const lab = makeRuntimeLab(t);
    const bundle = bundleOf(lab, urunc({ mountRootfs: "true" }));
    const rootfs = join(bundle, "rootfs");
    const image = join(lab.dir, "image");
    diskOf(rootfs, image);
    const device = command("losetup", "--find", "--show", image);
    try {
      command("mount", device, rootfs);
      await runs(lab, bundle, "ext4", true);
      assert.equal(readFileSync(join(rootfs, "open/new"), "utf8"), "by the guest\n");
    } finally {
      await lab.run(["delete", "--force", "guest"]);
      spawnSync("umount", [rootfs]);
      command("losetup", "--detach", device);
    }
    await assertNothingStands(lab, "after the run");
  },
);

test(
  "an image without a first process of its own gets ours, and its root is written in the sandbox alone",
  deadline,
  async (t) => {
    if (!ready(t)) return;
    const lab = makeLab(t);
    const content = mkdtempSync(join(tmpdir(), "tripod-content-"));
    t.after(() => rmSync(content, { recursive: true }));
    fill(content);
    copyFileSync(kernel, join(content, "kernel"));
    const recipe = {
      version: 1,
      name: "linux-tree",
      images: [
        {
          platform: "qemu/amd64",
          files: [
            { from: "kernel", to: "/kernel" },
            { from: "bin/busybox", to: "/bin/busybox", mode: "0755" },
            { from: "greeting", to: "/greeting" },
            { from: "script", to: "/script" },
            // A guest writes to a share with the rights of the monitor's user.
            { from: "greeting", to: "/open/new", mode: "0666" },
          ],
          config: { Entrypoint: ["/bin/busybox", "sh", "/script"], Env: ["PATH=/bin", "WORD=two words"] },
          annotations: urunc({ mountRootfs: "true" }),
        },
      ],
    };
    await buildImage(
      openStore(hostPath(join(lab.root, "lib"))),
      readRecipe(JSON.stringify(recipe), "the test's"),
      {
        base: hostPath(content),
      },
    );
    for (const _ of ["once", "and with nothing left of that"]) {
      const outcome = await lab.tripod(["run", "--network", "none", "--monitor", "qemu", "linux-tree"], {
        timeoutMs: 120_000,
      });
      ran(outcome.stdout + outcome.stderr, share);
      assert.equal(outcome.code, 7, outcome.stdout + outcome.stderr);
    }
  },
);

function command(file: string, ...argv: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(file, argv, { encoding: "utf8", timeout: 60_000 });
  assert.equal(status, 0, `${file} ${argv.join(" ")}: ${stderr}`);
  return stdout.trim();
}

/** An ext4 file system with the content of a directory. */
function diskOf(directory: string, image: string): void {
  writeFileSync(image, "");
  truncateSync(image, 64 << 20);
  command("mkfs.ext4", "-q", "-F", "-d", directory, image);
}
