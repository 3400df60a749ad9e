import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { copyFileSync, createWriteStream, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { runProgram } from "../host/process.ts";
import { hostPath, untrustedPath } from "../spec/paths.ts";
import { buildImage } from "./build.ts";
import { findFile } from "./find-file.ts";
import { findImage, lowersOf, openStore } from "./image.ts";
import { listImages, removeImage } from "./list.ts";
import { loadImages } from "./load.ts";
import { pullImage } from "./pull.ts";
import { readRecipe } from "./recipe.ts";
import { saveImages } from "./save.ts";
import type { Store } from "./store.ts";
import { layerTar, putImage, temporaryDir, warden } from "./testing.ts";

/** Debian's registry on a free port of loopback, ended with the test. */
async function startRegistry(t: TestContext): Promise<string> {
  const dir = temporaryDir(t);
  const port = await freePort();
  const config = join(dir, "config.yml");
  writeFileSync(
    config,
    `version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    rootdirectory: ${dir}/data\nhttp:\n  addr: 127.0.0.1:${port}\n`,
  );
  const child = spawn("docker-registry", ["serve", config], {
    stdio: "ignore",
    env: { PATH: "/usr/bin:/bin" },
  });
  const deadline = setTimeout(() => child.kill("SIGKILL"), 60_000);
  t.after(() => {
    clearTimeout(deadline);
    child.kill("SIGKILL");
  });
  for (let attempt = 0; attempt < 100; attempt++) {
    try {
      await fetch(`http://127.0.0.1:${port}/v2/`);
      return `127.0.0.1:${port}`;
    } catch {
      await sleep(50);
    }
  }
  throw new Error("docker-registry did not come up within 5 s");
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  assert.ok(typeof address === "object" && address !== null);
  return address.port;
}

async function run(file: string, ...argv: string[]): Promise<string> {
  const env = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", HOME: "/nonexistent" };
  const { code, stdout, stderr } = await runProgram(file, argv, { deadlineMs: 30_000, env });
  assert.equal(code, 0, `${file} ${argv.join(" ")}: ${stderr}`);
  return stdout;
}

const newStore = (t: TestContext): Store => openStore(hostPath(join(temporaryDir(t), "lib")));

/** A layout made by umoci: busybox, a layer that removes a file again, an entrypoint. */
async function umociLayout(t: TestContext): Promise<string> {
  const dir = temporaryDir(t);
  const layout = join(dir, "layout");
  await run("umoci", "init", "--layout", layout);
  await run("umoci", "new", "--image", `${layout}:1`);
  mkdirSync(join(dir, "rootfs/bin"), { recursive: true });
  copyFileSync("/bin/busybox", join(dir, "rootfs/bin/busybox"));
  writeFileSync(join(dir, "rootfs/secret"), "s");
  await run("umoci", "insert", "--image", `${layout}:1`, join(dir, "rootfs"), "/");
  await run("umoci", "insert", "--image", `${layout}:1`, "--whiteout", "/secret");
  await run("umoci", "config", "--image", `${layout}:1`, "--config.entrypoint", "/bin/busybox");
  return layout;
}

async function checkBusybox(store: Store, name: string): Promise<void> {
  const image = findImage(store, name);
  const entry = image?.entries[0];
  assert.ok(image && entry?.documents);
  assert.deepEqual(entry.documents.config.config?.Entrypoint, ["/bin/busybox"]);
  const lowers = await lowersOf(store, image, entry.descriptor.digest, { warden });
  const path = findFile(lowers, untrustedPath("/bin/busybox"));
  assert.ok(path);
  assert.deepEqual(readFileSync(path), readFileSync("/bin/busybox"));
  assert.equal(findFile(lowers, untrustedPath("/secret")), undefined);
}

test("an image of umoci, pushed by skopeo to Debian's registry, is pulled and unpacked", async (t) => {
  const host = await startRegistry(t);
  const layout = await umociLayout(t);
  for (const format of ["oci", "v2s2"])
    await run(
      "skopeo",
      "copy",
      "--insecure-policy",
      "--dest-tls-verify=false",
      `--format=${format}`,
      `oci:${layout}:1`,
      `docker://${host}/team/box:${format}`,
    );
  for (const format of ["oci", "v2s2"]) {
    const store = newStore(t);
    const progress: number[] = [];
    const onProgress = ({ doneBytes }: { doneBytes: number }) => progress.push(doneBytes);
    await pullImage(store, `${host}/team/box:${format}`, { arch: "amd64", environment: {}, onProgress });
    assert.ok(progress.length > 0);
    await checkBusybox(store, `${host}/team/box:${format}`);
    const [listed] = listImages(store);
    assert.deepEqual([listed?.platforms, listed?.problem], [["linux/amd64"], undefined]);
    const digest = listed?.digest;
    await pullImage(store, `${host}/team/box@${digest}`, { arch: "amd64", environment: {} });
    await assert.rejects(
      pullImage(store, `${host}/team/box:none`, { arch: "amd64", environment: {} }),
      /404/,
    );
  }
});

test("archives and layouts of other tools are loaded", async (t) => {
  const layout = await umociLayout(t);
  const dir = temporaryDir(t);
  const source = `oci:${layout}:1`;
  await run("skopeo", "copy", "--insecure-policy", source, `oci-archive:${dir}/oci.tar:example.org/box:1`);
  await run("skopeo", "copy", "--insecure-policy", source, `docker-archive:${dir}/docker.tar:box:1`);
  writeFileSync(join(dir, "docker.tar.gz"), gzipSync(readFileSync(join(dir, "docker.tar")), { level: 1 }));
  for (const [input, options, name] of [
    [`${dir}/oci.tar`, {}, "example.org/box:1"],
    [`${dir}/docker.tar`, {}, "box:1"],
    [`${dir}/docker.tar.gz`, {}, "box:1"],
    [layout, { name: "other:2" }, "other:2"],
  ] as const) {
    const store = newStore(t);
    const loaded = await loadImages(store, hostPath(input), options);
    assert.equal(loaded.length, 1);
    await checkBusybox(store, name);
  }
  await assert.rejects(loadImages(newStore(t), hostPath(layout)), /without a name/);
});

test("what we save, skopeo and we ourselves read again, with the same digests", async (t) => {
  const dir = temporaryDir(t);
  const store = newStore(t);
  mkdirSync(join(dir, "base"));
  writeFileSync(join(dir, "base/a"), "a");
  const images = ["linux/amd64", "spt/amd64"].map((platform) => ({
    platform,
    files: [{ from: "a", to: "/a" }],
  }));
  const built = await buildImage(
    store,
    readRecipe(JSON.stringify({ version: 1, name: "two", images }), "r"),
    {
      base: hostPath(join(dir, "base")),
    },
  );
  await saveImages(store, ["two"], createWriteStream(join(dir, "two.tar")));
  const raw = await run("skopeo", "inspect", "--raw", `oci-archive:${dir}/two.tar`);
  assert.equal(JSON.parse(raw).manifests.length, 2);
  await run("skopeo", "copy", "--insecure-policy", `docker-archive:${dir}/two.tar`, `oci:${dir}/copied:x`);
  const other = newStore(t);
  const stream = new PassThrough();
  const [loaded] = await Promise.all([loadImages(other, stream), saveImages(store, ["two"], stream)]);
  assert.deepEqual(loaded, [{ name: built.name, digest: built.digest }]);
  // The store itself is a layout, too.
  await run("skopeo", "inspect", "--raw", `oci:${store.root}:docker.io/library/two:latest`);
  const pushed = await startRegistry(t);
  await run(
    "skopeo",
    "copy",
    "--all",
    "--preserve-digests",
    "--insecure-policy",
    "--dest-tls-verify=false",
    `oci-archive:${dir}/two.tar`,
    `docker://${pushed}/two:1`,
  );
  const pulled = await pullImage(newStore(t), `${pushed}/two:1`, { arch: "amd64", environment: {} });
  assert.equal(pulled.digest, built.digest);
  assert.equal(pulled.entries.filter(({ documents }) => documents !== undefined).length, 2);
});

test("hostile archives are refused and leave neither name nor file", async (t) => {
  const dir = temporaryDir(t);
  const store = newStore(t);
  const tar = await layerTar([{ name: "f" }]);
  await putImage(store, "docker.io/library/good:1", [{ tar }]);
  await saveImages(store, ["good:1"], createWriteStream(join(dir, "good.tar")));
  const good = readFileSync(join(dir, "good.tar"));
  const broken = Buffer.from(good);
  const at = broken.indexOf('"architecture"');
  broken.write("X", at + 2);
  const linked = [
    { name: "manifest.json", content: '[{"Config":"c","RepoTags":["a:1"],"Layers":[]}]' },
    { name: "c", type: "symlink" as const, linkname: "/etc/passwd" },
  ];
  const cases: readonly (readonly [string, Buffer, RegExp])[] = [
    ["no tar", Buffer.alloc(4096, "x"), /not a sound tar/],
    ["empty", Buffer.alloc(0), /neither an OCI layout nor/],
    ["truncated", good.subarray(0, good.byteLength / 2), /truncated|neither|missing/],
    ["altered", broken, /digest/],
    ["link to the host", await layerTar(linked), /"c" is missing/],
    ["bad json", await layerTar([{ name: "manifest.json", content: "{" }]), /not JSON/],
    ["broken gzip", gzipSync(good).subarray(0, 100), /decompressed/],
  ];
  for (const [what, bytes, message] of cases) {
    const victim = newStore(t);
    const stream = new PassThrough();
    stream.end(bytes);
    await assert.rejects(loadImages(victim, stream), message, what);
    writeFileSync(join(dir, "bad.tar"), bytes);
    await assert.rejects(loadImages(victim, hostPath(join(dir, "bad.tar"))), message, what);
    assert.deepEqual(victim.references(), []);
  }
  const bomb = new PassThrough();
  bomb.end(gzipSync(Buffer.alloc(20_000_000)));
  await assert.rejects(loadImages(newStore(t), bomb, { maxBytes: 1_000_000 }), /more than the 1000000 bytes/);
});

test("an image that a sandbox uses is not removed unless forced, and then lives on unnamed", async (t) => {
  const store = newStore(t);
  const { descriptor } = await putImage(store, "docker.io/library/a:1", [
    { tar: await layerTar([{ name: "f" }]) },
  ]);
  const inUse = [{ sandbox: "web", digests: [descriptor.digest] }];
  await assert.rejects(removeImage(store, "a:1", { inUse, force: false }), /used by the sandbox web/);
  await assert.rejects(removeImage(store, "b:1", { inUse, force: false }), /not in the store/);
  await store.tag("docker.io/library/b:1", descriptor);
  assert.equal((await removeImage(store, "b:1", { inUse, force: false })).blobs, 0);
  assert.equal((await removeImage(store, "a:1", { inUse, force: true })).blobs, 0);
  await store.tag("docker.io/library/a:1", descriptor);
  const short = descriptor.digest.slice("sha256:".length, "sha256:".length + 12);
  assert.equal((await removeImage(store, short, { inUse: [], force: false })).blobs, 3);
});
