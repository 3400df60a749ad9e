import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { TripodError } from "../spec/errors.ts";
import { mediaTypes } from "../spec/oci.ts";
import { hostPath, untrustedPath } from "../spec/paths.ts";
import { findFile } from "./find-file.ts";
import { collectGarbage } from "./gc.ts";
import { findImage, offersOf } from "./image.ts";
import { ensureUnpacked } from "./layers.ts";
import { Store, openStore } from "./store.ts";
import { layerTar, putImage, temporaryDir, warden } from "./testing.ts";

const read = (path: string | undefined): string | undefined => path && readFileSync(path, "utf8");

const base64 = (text: string): string => Buffer.from(text).toString("base64");

const lower = await layerTar([
  { name: "etc/", type: "directory" },
  { name: "etc/hidden", content: "lower" },
  { name: "etc/kept", content: "kept" },
  { name: "opaque/", type: "directory" },
  { name: "opaque/below", content: "below" },
  { name: "boot/", type: "directory" },
  { name: "boot/kernel-1", content: "kernel" },
  { name: "boot/kernel", type: "symlink", linkname: "/boot/../../boot/kernel-1" },
  { name: "loop", type: "symlink", linkname: "loop" },
  { name: "out", type: "symlink", linkname: "../../../../../../etc/passwd" },
  { name: "replaced/", type: "directory" },
  { name: "replaced/x", content: "x" },
]);
const upper = await layerTar([
  { name: "etc/", type: "directory" },
  { name: "etc/.wh.hidden" },
  { name: "etc/passwd", content: "image's own" },
  { name: "opaque/", type: "directory" },
  { name: "opaque/.wh..wh..opq" },
  { name: "opaque/above", content: "above" },
  { name: "replaced", content: "now a file" },
]);

test("layers of every compression are unpacked, and files are found as overlayfs would show them", async (t) => {
  const store = openStore(hostPath(join(temporaryDir(t), "lib")));
  const { manifest, config } = await putImage(store, "docker.io/library/x:1", [
    { tar: lower, blob: gzipSync(lower), mediaType: mediaTypes.layerGzip },
    {
      tar: await layerTar([{ name: "z", content: "zstd" }]),
      blob: zstdCompressSync(await layerTar([{ name: "z", content: "zstd" }])),
      mediaType: mediaTypes.layerZstd,
    },
    { tar: upper },
  ]);
  const lowers = await ensureUnpacked(store, "x:1", manifest, config, { warden });
  assert.equal(lowers.length, 3);
  const at = (path: string) => read(findFile(lowers, untrustedPath(path)));
  assert.equal(at("/etc/kept"), "kept");
  assert.equal(at("z"), "zstd");
  assert.equal(at("/etc/hidden"), undefined, "whiteout");
  assert.equal(at("/opaque/below"), undefined, "opaque");
  assert.equal(at("/opaque/above"), "above");
  assert.equal(at("/boot/kernel"), "kernel", "symbolic link within the image");
  assert.equal(at("/out"), "image's own", "a link upwards stays in the image");
  assert.equal(at("/../../etc/passwd"), "image's own");
  assert.equal(at("/replaced/x"), undefined);
  assert.equal(at("/replaced"), "now a file");
  assert.equal(at("/loop"), undefined);
  assert.equal(at("/etc"), undefined, "a directory is no file");
  assert.equal(at("/etc/kept/more"), undefined);
  assert.equal(at(""), undefined);
  assert.equal(at("/a\0b"), undefined);
  assert.equal(at(`/${"n".repeat(5000)}`), undefined);
  // The second time nothing is unpacked: the blobs are not even needed.
  rmSync(join(store.root, "blobs"), { recursive: true });
  assert.deepEqual(await ensureUnpacked(store, "x:1", manifest, config, { warden }), lowers);
});

test("a directory that a layer only implies is as in the layers below, whichever image they are of", async (t) => {
  const store = openStore(hostPath(join(temporaryDir(t), "lib")));
  const bottom = await layerTar([
    { name: "./", type: "directory", mode: 0o711 },
    { name: "tmp/", type: "directory", mode: 0o1777 },
    { name: "home/", type: "directory", mode: 0o700, uid: 1000, gid: 1001 },
  ]);
  const between = await layerTar([{ name: "unrelated" }]);
  const top = await layerTar([{ name: "tmp/x" }, { name: "home/y" }, { name: "new/z" }]);
  const look = async (tars: readonly Buffer[]) => {
    const { manifest, config } = await putImage(
      store,
      `docker.io/library/i:${tars.length}`,
      tars.map((tar) => ({ tar })),
    );
    const lowers = await ensureUnpacked(store, "i", manifest, config, { warden });
    assert.equal(lowers.length, tars.length);
    return ["", "tmp", "home", "new"].map((name) => {
      const { mode, uid, gid } = statSync(join(lowers[0] ?? "", name));
      return `${(mode & 0o7777).toString(8)} ${uid}:${gid}`;
    });
  };
  // The same layer on nothing, on another image's layers and twice in one image.
  assert.deepEqual(await look([top]), ["755 0:0", "755 0:0", "755 0:0", "755 0:0"]);
  const inherited = ["711 0:0", "1777 0:0", "700 1000:1001", "755 0:0"];
  assert.deepEqual(await look([bottom, between, top]), inherited);
  assert.deepEqual(await look([bottom, top, between, top]), inherited);
  // Both images' layers stay: top; bottom, between, top; top, between, top on bottom.
  const { layers } = await collectGarbage(store, { inUse: [] });
  assert.equal(layers, 0);
  assert.equal(readdirSync(store.layersDir).length, 7);
  await store.untag("docker.io/library/i:4");
  assert.equal((await collectGarbage(store, { inUse: [] })).layers, 3);
});

test("what is wrong with a layer is told, and nothing of it stays", async (t) => {
  const good = gzipSync(lower);
  const gone = gzipSync(await layerTar([{ name: "gone" }]));
  const cases: readonly (readonly [string, RegExp, (store: Store) => Promise<unknown>])[] = [
    [
      "image-corrupt",
      /digest/,
      async (store) => {
        const { manifest, config } = await putImage(store, "x", [{ tar: lower }]);
        const path = store.blobPath(manifest.layers[0]?.digest ?? "sha256:");
        const bytes = readFileSync(path);
        bytes[600] = 0x41;
        writeFileSync(path, bytes);
        return ensureUnpacked(store, "x", manifest, config, { warden });
      },
    ],
    [
      "image-corrupt",
      /uncompressed: .*digest/,
      async (store) => {
        const { manifest, config } = await putImage(store, "x", [
          { tar: upper, blob: good, mediaType: mediaTypes.layerGzip },
        ]);
        return ensureUnpacked(store, "x", manifest, config, { warden });
      },
    ],
    [
      "image-corrupt",
      /decompressed/,
      async (store) => {
        const { manifest, config } = await putImage(store, "x", [
          { tar: lower, blob: good.subarray(0, 200), mediaType: mediaTypes.layerGzip },
        ]);
        return ensureUnpacked(store, "x", manifest, config, { warden });
      },
    ],
    [
      "image-corrupt",
      /not in the store/,
      async (store) => {
        const { manifest, config } = await putImage(store, "x", [
          { tar: lower, blob: gone, mediaType: mediaTypes.layerGzip },
        ]);
        rmSync(store.blobPath(manifest.layers[0]?.digest ?? "sha256:"));
        return ensureUnpacked(store, "x", manifest, config, { warden });
      },
    ],
    [
      "image-unsafe",
      /escape/,
      async (store) => {
        const tar = await layerTar([{ name: "../escape", content: "x" }]);
        const { manifest, config } = await putImage(store, "x", [{ tar }]);
        return ensureUnpacked(store, "x", manifest, config, { warden });
      },
    ],
    [
      "image-unsafe",
      /./,
      async (store) => {
        const { manifest, config } = await putImage(store, "x", [{ tar: lower }]);
        return ensureUnpacked(store, "x", manifest, config, { warden, maxEntries: 2 });
      },
    ],
    [
      "image-invalid",
      /no layer/,
      async (store) => {
        const { manifest, config } = await putImage(store, "x", []);
        return ensureUnpacked(store, "x", manifest, config, { warden });
      },
    ],
    [
      "setup-missing",
      /could not be started/,
      async (store) => {
        const { manifest, config } = await putImage(store, "x", [{ tar: lower }]);
        return ensureUnpacked(store, "x", manifest, config, { warden: hostPath("/nonexistent/warden") });
      },
    ],
    [
      "warden-gone",
      /status 1|ended/,
      async (store) => {
        const { manifest, config } = await putImage(store, "x", [{ tar: lower }]);
        return ensureUnpacked(store, "x", manifest, config, { warden: hostPath("/bin/false") });
      },
    ],
  ];
  for (const [code, message, run] of cases) {
    const store = openStore(hostPath(join(temporaryDir(t), "lib")));
    await assert.rejects(run(store), (error) => {
      assert.ok(error instanceof TripodError, String(error));
      assert.equal(error.code, code, error.message);
      assert.match(error.message, message);
      return true;
    });
    assert.deepEqual(existsSync(store.layersDir) ? readdirSync(store.layersDir) : [], []);
    assert.deepEqual(existsSync(store.lockDir) ? readdirSync(store.lockDir) : [], []);
  }
});

test("several that unpack the same layer at once agree on one", async (t) => {
  const store = openStore(hostPath(join(temporaryDir(t), "lib")));
  const { manifest, config } = await putImage(store, "x", [{ tar: lower }]);
  // What a process that was killed left of this layer goes.
  const diffId = config.rootfs.diff_ids[0] ?? "";
  mkdirSync(join(store.layersDir, `.tmp-999999999.1.${diffId.slice("sha256:".length)}`, "half"), {
    recursive: true,
  });
  const all = await Promise.all(
    Array.from({ length: 6 }, () => ensureUnpacked(openStore(store.lib), "x", manifest, config, { warden })),
  );
  assert.equal(new Set(all.flat()).size, 1);
  assert.equal(readdirSync(store.layersDir).length, 1);
});

test("urunc.json in the root file system makes a unikernel of a plain image", async (t) => {
  const store = openStore(hostPath(join(temporaryDir(t), "lib")));
  const urunc = JSON.stringify({
    "com.urunc.unikernel.unikernelType": base64("mirage"),
    "com.urunc.unikernel.hypervisor": base64("spt"),
    "com.urunc.unikernel.binary": base64("/unikernel/app.spt"),
    "com.urunc.unikernel.cmdline": base64("a  b"),
  });
  const tar = await layerTar([
    { name: "urunc.json", content: urunc },
    { name: "unikernel/app.spt", content: "x" },
  ]);
  await putImage(store, "docker.io/library/u:latest", [{ tar }]);
  await putImage(store, "docker.io/library/plain:latest", [{ tar: lower }]);
  const offers = async (name: string) => {
    const image = findImage(store, name);
    assert.ok(image);
    return (await offersOf(store, image, { warden })).offers;
  };
  const [offer] = await offers("u");
  assert.ok(offer?.mode === "unikernel");
  assert.deepEqual(
    [offer.guest, offer.monitors, offer.kernel, offer.args],
    ["mirage", ["spt"], "/unikernel/app.spt", ["a", "b"]],
  );
  assert.equal((await offers("plain"))[0]?.mode, "container");
  const odd = await layerTar([{ name: "urunc.json", content: '{"com.urunc.unikernel.binary": 7}' }]);
  await putImage(store, "docker.io/library/odd:latest", [{ tar: odd }]);
  await assert.rejects(
    offers("odd"),
    /urunc\.json of \S+ has a com\.urunc\.unikernel\.binary that is not a string/,
  );
});

test("the collection keeps what a name, a sandbox or a lease needs, and nothing else", async (t) => {
  const store = openStore(hostPath(join(temporaryDir(t), "lib")));
  const kept = await putImage(store, "docker.io/library/kept:1", [{ tar: lower }]);
  const running = await putImage(store, "docker.io/library/running:1", [{ tar: upper }]);
  const lost = await putImage(store, "docker.io/library/lost:1", [{ tar: await layerTar([{ name: "l" }]) }]);
  for (const { manifest, config } of [kept, running, lost])
    await ensureUnpacked(store, "x", manifest, config, { warden });
  writeFileSync(join(store.ingestDir, "999999999.1.aa"), "left by a dead process");
  await store.untag("docker.io/library/running:1");
  await store.untag("docker.io/library/lost:1");
  const inUse = [running.descriptor.digest];
  const lease = await store.lease();
  assert.equal((await collectGarbage(store, { inUse })).done, false);
  await lease.release();
  assert.equal((await collectGarbage(store, { inUse, graceMs: 60_000 })).blobs, 0);
  const result = await collectGarbage(store, { inUse });
  assert.deepEqual([result.done, result.blobs, result.layers], [true, 3, 1]);
  assert.deepEqual(readdirSync(store.ingestDir), []);
  for (const { manifest, descriptor } of [kept, running])
    for (const part of [descriptor, manifest.config, ...manifest.layers]) assert.ok(store.has(part));
  assert.equal(store.has(lost.descriptor), false);
  assert.equal((await collectGarbage(store, { inUse: [] })).layers, 1);
  assert.equal(readdirSync(store.layersDir).filter((name) => !name.endsWith(".json")).length, 1);
});
