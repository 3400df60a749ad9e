import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { buildImage } from "../image/build.ts";
import { readRecipe } from "../image/recipe.ts";
import { openStore } from "../image/store.ts";
import { digestOf, hexOf } from "../spec/digest.ts";
import { mediaTypes } from "../spec/oci.ts";
import { hostPath } from "../spec/paths.ts";
import { runCommandLine } from "./cli.ts";
import { commands } from "./commands.ts";
import { documents } from "./documents.ts";
import { capturedTerminal } from "./testing.ts";

const root = mkdtempSync(join(tmpdir(), "tripod-cli-images-"));
after(() => rmSync(root, { recursive: true, force: true }));

async function tripod(...argv: readonly string[]) {
  const terminal = capturedTerminal();
  const status = await runCommandLine(["--root", root, ...argv], commands, {}, terminal);
  return { status, stdout: terminal.stdout(), stderr: terminal.stderr() };
}

/** An image of unikernels only: nothing of it needs unpacking to be explained. */
const recipe = {
  version: 1,
  name: "guest",
  images: ["spt", "hvt"].map((monitor) => ({
    platform: `${monitor}/amd64`,
    files: [{ from: "kernel", to: "/kernel" }],
    annotations: {
      "dev.tripod.mode": "unikernel",
      "dev.tripod.guest": "solo5",
      "dev.tripod.monitors": monitor,
      "dev.tripod.kernel": "/kernel",
    },
  })),
};

before(async () => {
  writeFileSync(join(root, "kernel"), "not really");
  const store = openStore(hostPath(join(root, "lib")));
  await buildImage(store, readRecipe(JSON.stringify(recipe), "the test's recipe"), { base: hostPath(root) });
});

test("explain lists every offer by every monitor, marks the choice, and says in a line which and why", async () => {
  const document = JSON.parse((await tripod("explain", "--mode", "unikernel", "-o", "json", "guest")).stdout);
  assert.equal(document.schema, "tripod.explain/1");
  assert.deepEqual(Object.keys(document), Object.keys(documents.explain.fields));
  assert.deepEqual(document.rows.map((row: { by: string }) => row.by).toSorted(), ["hvt", "spt"]);
  const chosen = document.rows.filter((row: { chosen: boolean }) => row.chosen);
  assert.ok(chosen.length <= 1);
  assert.deepEqual(document.chosen, chosen[0] ?? null);
  const table = await tripod("explain", "guest");
  assert.match(table.stdout, /MODE +BY +GUEST +ARCH +VERDICT +WHY +REMEDY\n/);
  assert.ok(table.stderr.includes(document.chosen === null ? "nothing fits" : "unikernel by"));
});

test("explain ends with 1 when nothing fits, and 125 for a malformed wish", async () => {
  const none = await tripod("explain", "--mode", "container", "guest");
  assert.equal(none.status, 1);
  assert.match(none.stdout, /refused/);
  const wish = await tripod("explain", "--memory", "lots", "guest");
  assert.equal(wish.status, 125);
  assert.match(wish.stderr, /--memory: "lots"/);
});

test("an image that is nowhere is not looked for with --pull never, and nothing is left", async () => {
  const { status, stderr } = await tripod("explain", "--pull", "never", "nowhere");
  assert.equal(status, 125);
  assert.match(stderr, /^tripod: nowhere .*\nhint: tripod pull nowhere\n$/);
});

test("a name that is no reference does not keep the others from being tried", async () => {
  const { status, stdout, stderr } = await tripod("pull", "a//b", "UPPER");
  assert.equal(status, 125);
  assert.equal(stdout, "");
  assert.match(stderr, /"a\/\/b"[^]*"UPPER"/);
  assert.equal(
    existsSync(join(root, "lib/images/ingest")) && readdirSync(join(root, "lib/images/ingest")).length > 0,
    false,
  );
});

test("save writes a whole file that load reads back under its name or another", async () => {
  const file = join(root, "guest.tar");
  assert.deepEqual(await tripod("save", "-o", file, "guest"), { status: 0, stdout: "", stderr: "" });
  const saved = JSON.parse((await tripod("inspect", "guest")).stdout);
  assert.equal((await tripod("rmi", "guest")).status, 0);
  const loaded = await tripod("load", "-i", file);
  assert.deepEqual([loaded.status, loaded.stdout], [0, `guest:latest ${saved.digest}\n`]);
  assert.equal((await tripod("load", "-q", "-i", file, "--name", "other:2")).stdout, "other:2\n");
  assert.deepEqual(JSON.parse((await tripod("inspect", "guest")).stdout), saved);
  const again = join(root, "again.tar");
  await tripod("save", "-o", again, "guest");
  assert.ok(readFileSync(file).equals(readFileSync(again)), "the same image gives the same bytes");
});

test("save and load refuse what cannot be, and leave nothing beside", async () => {
  const dir = join(root, "out");
  mkdirSync(dir);
  const missing = await tripod("save", "-o", join(dir, "x.tar"), "nowhere");
  assert.equal(missing.status, 125);
  assert.match(missing.stderr, /nowhere is not in the store/);
  assert.deepEqual(readdirSync(dir), []);
  const noDir = await tripod("save", "-o", join(dir, "no/x.tar"), "guest");
  assert.equal(noDir.status, 125);
  assert.match(noDir.stderr, /no\/x\.tar cannot be written: ENOENT/);
  writeFileSync(join(dir, "garbage"), "x".repeat(5000));
  const garbage = await tripod("load", "-i", join(dir, "garbage"));
  assert.equal(garbage.status, 125);
  assert.match(garbage.stderr, /tar archive|docker archive/);
  assert.equal((await tripod("load", "-i", join(dir, "nothing"))).status, 125);
  assert.deepEqual(readdirSync(join(root, "lib/images/ingest")), []);
});

/** An OCI layout of one image whose config says `config`, with these bytes as layers. */
function layoutWith(config: unknown, layers: readonly string[] = []): string {
  const dir = mkdtempSync(join(root, "layout-"));
  mkdirSync(join(dir, "blobs/sha256"), { recursive: true });
  const blob = (mediaType: string, content: string) => {
    const bytes = Buffer.from(content);
    writeFileSync(join(dir, "blobs/sha256", hexOf(digestOf(bytes))), bytes);
    return { mediaType, digest: digestOf(bytes), size: bytes.byteLength };
  };
  const document = { architecture: "amd64", os: "linux", config, rootfs: { type: "layers", diff_ids: [] } };
  const manifest = blob(
    mediaTypes.manifest,
    JSON.stringify({
      schemaVersion: 2,
      config: blob(mediaTypes.config, JSON.stringify(document)),
      layers: layers.map((layer) => blob(mediaTypes.layer, layer)),
    }),
  );
  writeFileSync(join(dir, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(join(dir, "index.json"), JSON.stringify({ schemaVersion: 2, manifests: [manifest] }));
  return dir;
}

test("an image whose config cannot be understood is refused when it is loaded", async () => {
  assert.equal((await tripod("load", "-i", layoutWith({ Env: ["A=1"] }), "--name", "sound:1")).status, 0);
  for (const config of [{ Env: "x" }, { Cmd: "" }]) {
    const { status, stderr } = await tripod("load", "-i", layoutWith(config), "--name", "bad:1");
    assert.equal(status, 125);
    assert.match(stderr, /^tripod: .*the config sha256:[0-9a-f]+: config\.(?:Env|Cmd): .*\nhint: /);
  }
  assert.doesNotMatch((await tripod("images")).stdout, /bad/);
});

test("a load that fails leaves nothing of the image in the store, and all that has a name", async () => {
  const blobs = () => readdirSync(join(root, "lib/images/blobs/sha256")).toSorted();
  // What the refused loads before this test put has gone already.
  assert.equal((await tripod("rmi", "-f", "nothing")).stderr, "");
  const named = blobs();
  const dir = layoutWith({ Env: ["A=1"] }, ["good".repeat(1000), "soon corrupt"]);
  const corrupt = join(dir, "blobs/sha256", hexOf(digestOf(Buffer.from("soon corrupt"))));
  writeFileSync(corrupt, "now corrupt!");
  const store = openStore(hostPath(join(root, "lib")));
  const lease = await store.lease();
  assert.match((await tripod("load", "-i", dir, "--name", "half:1")).stderr, /digest/);
  assert.notDeepEqual(blobs(), named, "what another command may rely on stays");
  await lease.release();
  assert.match((await tripod("load", "-i", dir, "--name", "half:1")).stderr, /digest/);
  assert.deepEqual(blobs(), named);
  writeFileSync(corrupt, "soon corrupt");
  assert.equal((await tripod("load", "-i", dir, "--name", "half:1")).status, 0);
});

test("a damaged image does not hide the others", async () => {
  const dir = layoutWith({ Env: "x" });
  const [manifest] = JSON.parse(readFileSync(join(dir, "index.json"), "utf8")).manifests;
  const store = openStore(hostPath(join(root, "lib")));
  for (const name of readdirSync(join(dir, "blobs/sha256"))) {
    const bytes = readFileSync(join(dir, "blobs/sha256", name));
    await store.put(bytes, { digest: digestOf(bytes), size: bytes.byteLength }, name);
  }
  await store.tag("docker.io/library/bad:1", manifest);
  await store.tag("Not A Reference", manifest);
  const { status, stdout, stderr } = await tripod("images");
  assert.equal(status, 0);
  assert.match(stdout, /^bad:1 +[0-9a-f]{12} +damaged /m);
  assert.match(stdout, /^guest:latest +[0-9a-f]{12} +spt/m);
  assert.match(stderr, /^tripod: bad:1 is damaged: .*config\.Env.*\nhint: tripod rmi bad:1, /m);
  assert.match(stderr, /^hint: tripod rmi [0-9a-f]{12}, /m);
  const rows = JSON.parse((await tripod("images", "-o", "json")).stdout);
  assert.deepEqual(Object.keys(rows[0]), Object.keys(documents.image.fields));
  assert.match(rows.find((row: { reference: string }) => row.reference === "bad:1").problem, /config\.Env/);
  assert.equal((await tripod("rmi", "bad:1", manifest.digest)).stdout, "bad:1\nNot A Reference\n");
  assert.equal((await tripod("images")).stderr, "");
});

test("rmi by the beginning of a digest that has several names wants -f, and then removes them all", async () => {
  const store = openStore(hostPath(join(root, "lib")));
  // Of its own, so that the other tests keep theirs.
  const own = { ...recipe, name: "twice", images: recipe.images.slice(0, 1) };
  await buildImage(store, readRecipe(JSON.stringify(own), "the test's recipe"), { base: hostPath(root) });
  const stored = store.find("docker.io/library/twice:latest");
  assert.ok(stored !== undefined);
  await store.tag("docker.io/library/twice:again", stored.descriptor);
  const digits = stored.descriptor.digest.slice("sha256:".length, "sha256:".length + 12);
  const refused = await tripod("rmi", digits);
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /several names: twice:again, twice:latest/);
  assert.match(refused.stderr, /hint: tripod rmi -f /);
  assert.equal(refused.stdout, "");
  const removed = await tripod("rmi", "-f", digits);
  assert.equal(removed.status, 0);
  assert.equal(removed.stdout, "twice:again\ntwice:latest\n");
  assert.equal(store.find("docker.io/library/twice:again"), undefined);
});

test("an archive is neither printed on a terminal nor read from one", async () => {
  const terminal = capturedTerminal({ isTerminal: true, inputIsTerminal: true });
  assert.equal(await runCommandLine(["--root", root, "save", "guest"], commands, {}, terminal), 125);
  assert.equal(await runCommandLine(["--root", root, "load"], commands, {}, terminal), 125);
  assert.equal(terminal.stdout(), "");
  assert.match(terminal.stderr(), /hint: tripod save -o FILE guest/);
});

test("the machine's facts were kept where the state is", () => {
  assert.ok(existsSync(join(root, "lib/facts.json")));
});
