import assert from "node:assert/strict";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { digestOf } from "../../spec/digest.ts";
import { TripodError } from "../../spec/errors.ts";
import { mediaTypes } from "../../spec/oci.ts";
import { hostPath } from "../../spec/paths.ts";
import { findImage, openStore } from "../image.ts";
import { ingest } from "../ingest.ts";
import { runnableOn } from "../platform.ts";
import { parseReference } from "../../spec/reference.ts";
import { temporaryDir } from "../testing.ts";
import { parseChallenges } from "./challenge.ts";
import { openRegistry } from "./registry.ts";

type Handler = (request: IncomingMessage, response: ServerResponse) => boolean | void;

const json = (value: unknown) => Buffer.from(JSON.stringify(value));

/** A small registry with one image, `app:1`; `before` may answer first. */
async function registry(t: TestContext, before: Handler = () => false) {
  const layer = Buffer.alloc(300_000, "layer");
  const layerDescriptor = { mediaType: mediaTypes.layer, digest: digestOf(layer), size: layer.byteLength };
  const config = json({
    architecture: "amd64",
    os: "linux",
    config: null,
    rootfs: { type: "layers", diff_ids: [layerDescriptor.digest] },
  });
  const manifest = json({
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: { mediaType: mediaTypes.config, digest: digestOf(config), size: config.byteLength },
    layers: [layerDescriptor],
  });
  const index = json({
    schemaVersion: 2,
    mediaType: mediaTypes.index,
    manifests: [
      {
        mediaType: mediaTypes.manifest,
        digest: digestOf(manifest),
        size: manifest.byteLength,
        platform: { os: "linux", architecture: "amd64" },
      },
      {
        mediaType: mediaTypes.manifest,
        digest: digestOf(Buffer.from("gone")),
        size: 4,
        platform: { os: "linux", architecture: "arm64" },
      },
    ],
  });
  const blobs = new Map([layer, config].map((bytes) => [`/v2/app/blobs/${digestOf(bytes)}`, bytes]));
  const documents = new Map([
    ["/v2/app/manifests/1", index],
    [`/v2/app/manifests/${digestOf(index)}`, index],
    [`/v2/app/manifests/${digestOf(manifest)}`, manifest],
  ]);
  const requests: { readonly url: string; readonly headers: IncomingMessage["headers"] }[] = [];
  const { host } = await listen(t, (request, response) => {
    const url = request.url ?? "";
    requests.push({ url, headers: request.headers });
    if (before(request, response) === true) return;
    const document = documents.get(url);
    const blob = blobs.get(url);
    if (document !== undefined)
      response
        .setHeader("content-type", document === index ? mediaTypes.index : mediaTypes.manifest)
        .end(document);
    else if (blob !== undefined) {
      const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
      if (from > 0)
        response.writeHead(206, {
          "content-range": `bytes ${from}-${blob.byteLength - 1}/${blob.byteLength}`,
        });
      response.end(blob.subarray(from));
    } else
      response
        .writeHead(404)
        .end(JSON.stringify({ errors: [{ code: "MANIFEST_UNKNOWN", message: "unknown\u001b[31m" }] }));
  });
  return { host, requests, layer, layerPath: `/v2/app/blobs/${layerDescriptor.digest}` };
}

async function listen(t: TestContext, handler: (request: IncomingMessage, response: ServerResponse) => void) {
  const server: Server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  return { host: `127.0.0.1:${address.port}` };
}

async function pull(t: TestContext, name: string, environment: Record<string, string> = {}) {
  const store = openStore(hostPath(join(temporaryDir(t), "lib")));
  const signal = new AbortController().signal;
  const reference = parseReference(name);
  const { root, source } = await openRegistry(reference, { environment, backOffMs: 5, idleMs: 500 }, signal);
  await ingest(store, source, root, ["docker.io/library/x:1"], { choose: runnableOn("amd64") });
  return { store, root };
}

const rejectsWith = (promise: Promise<unknown>, code: string, message: RegExp) =>
  assert.rejects(promise, (error) => {
    assert.ok(error instanceof TripodError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });

test("a pull fetches the index and only what this machine can run", async (t) => {
  const { host } = await registry(t);
  const { store } = await pull(t, `${host}/app:1`);
  const image = findImage(store, "x:1");
  assert.deepEqual(
    image?.entries.map(({ documents }) => documents !== undefined),
    [true, false],
  );
});

test("a transfer that breaks is taken up where it broke", async (t) => {
  let isBroken = false;
  const served = await registry(t, (request, response) => {
    if (isBroken || request.url !== served.layerPath) return false;
    isBroken = true;
    response.writeHead(200, { "content-length": served.layer.byteLength });
    response.write(served.layer.subarray(0, 100_000), () => setTimeout(() => response.destroy(), 30));
    return true;
  });
  const { store } = await pull(t, `${served.host}/app:1`);
  assert.ok(findImage(store, "x:1"));
  assert.ok(served.requests.some(({ headers }) => headers.range !== undefined));
});

test("a silent or overloaded registry is asked again", async (t) => {
  let count = 0;
  const { host } = await registry(t, (_request, response) => {
    count++;
    if (count === 1) return true;
    if (count === 2) {
      response.writeHead(503).end();
      return true;
    }
    return false;
  });
  await pull(t, `${host}/app:1`);
  assert.ok(count > 3);
});

test("the token flow: credentials go to the token server, the token to the registry, none along a redirect", async (t) => {
  const seen: (string | undefined)[] = [];
  const elsewhere = await listen(t, (request, response) => {
    seen.push(request.headers.authorization);
    response.end(served.layer);
  });
  const tokens = await listen(t, (request, response) => {
    const url = new URL(request.url ?? "", "http://x");
    const isGood =
      request.headers.authorization === `Basic ${Buffer.from("user:pa:ss").toString("base64")}` &&
      url.searchParams.get("service") === "reg" &&
      url.searchParams.get("scope") === "repository:app:pull";
    response.writeHead(isGood ? 200 : 401).end(JSON.stringify({ token: "tok", expires_in: 60 }));
  });
  const served = await registry(t, (request, response) => {
    if (request.headers.authorization !== "Bearer tok") {
      const challenge = `Bearer realm="http://${tokens.host}/token",service="reg",scope="repository:app:pull"`;
      response.writeHead(401, { "www-authenticate": challenge }).end();
      return true;
    }
    if (request.url !== served.layerPath) return false;
    response.writeHead(307, { location: `http://${elsewhere.host}/blob` }).end();
    return true;
  });
  const dir = temporaryDir(t);
  const auth = Buffer.from("user:pa:ss").toString("base64");
  writeFileSync(
    join(dir, "config.json"),
    JSON.stringify({ auths: { [`http://${served.host}/v2/`]: { auth } } }),
  );
  await pull(t, `${served.host}/app:1`, { DOCKER_CONFIG: dir });
  assert.deepEqual(seen, [undefined]);
  await rejectsWith(pull(t, `${served.host}/app:1`), "registry-denied", /token without credentials/);
});

test("a credential helper is asked; Basic is sent; wrong credentials are told", async (t) => {
  const { host } = await registry(t, (request, response) => {
    if (request.headers.authorization === `Basic ${Buffer.from("u:secret").toString("base64")}`) return false;
    response.writeHead(401, { "www-authenticate": 'Basic realm="x"' }).end();
    return true;
  });
  const dir = temporaryDir(t);
  const helper = join(dir, "docker-credential-test");
  mkdirSync(join(dir, "docker"));
  writeFileSync(
    helper,
    `#!/bin/sh\nread server\necho "{\\"ServerURL\\":\\"$server\\",\\"Username\\":\\"u\\",\\"Secret\\":\\"$SECRET\\"}"\n`,
  );
  chmodSync(helper, 0o755);
  writeFileSync(join(dir, "docker", "config.json"), JSON.stringify({ credHelpers: { [host]: "test" } }));
  const environment = { PATH: `${dir}:/usr/bin:/bin`, DOCKER_CONFIG: join(dir, "docker") };
  await pull(t, `${host}/app:1`, { ...environment, SECRET: "secret" });
  await rejectsWith(
    pull(t, `${host}/app:1`, { ...environment, SECRET: "wrong" }),
    "registry-denied",
    /did not allow/,
  );
  writeFileSync(join(dir, "docker", "config.json"), JSON.stringify({ credHelpers: { [host]: "../evil" } }));
  await rejectsWith(pull(t, `${host}/app:1`, environment), "registry-denied", /no sound name/);
});

test("wrong, oversized and missing content is refused by name and leaves no image", async (t) => {
  const cases: readonly (readonly [string, RegExp, (layer: Buffer, response: ServerResponse) => void])[] = [
    [
      "image-corrupt",
      /digest/,
      (layer, response) => void response.end(Buffer.alloc(layer.byteLength, "evil")),
    ],
    ["image-corrupt", /more than the/, (layer, response) => void response.end(Buffer.concat([layer, layer]))],
    [
      "image-not-found",
      /404: MANIFEST_UNKNOWN unknown\?\[31m/,
      (_layer, response) => {
        response
          .writeHead(404)
          .end(JSON.stringify({ errors: [{ code: "MANIFEST_UNKNOWN", message: "unknown\u001b[31m" }] }));
      },
    ],
    ["image-corrupt", /bytes instead of/, (layer, response) => void response.end(layer.subarray(0, 10))],
    [
      "registry-failed",
      /redirects/,
      (_layer, response) => void response.writeHead(302, { location: "" }).end(),
    ],
    [
      "registry-failed",
      /refused the redirect/,
      (_layer, response) => void response.writeHead(302, { location: "file:///etc/passwd" }).end(),
    ],
  ];
  for (const [code, message, answer] of cases) {
    const served = await registry(t, (request, response) => {
      if (request.url !== served.layerPath) return false;
      answer(served.layer, response);
      return true;
    });
    await rejectsWith(pull(t, `${served.host}/app:1`), code, message);
  }
});

test("a manifest without end and a digest that does not hold are refused", async (t) => {
  const endless = await registry(t, (request, response) => {
    if (!request.url?.includes("/manifests/")) return false;
    response.setHeader("content-type", mediaTypes.manifest);
    response.end(Buffer.alloc(5 * 1024 * 1024, " "));
    return true;
  });
  await rejectsWith(pull(t, `${endless.host}/app:1`), "registry-failed", /larger than/);
  const liar = await registry(t, (_request, response) => {
    response.end("{}");
    return true;
  });
  await rejectsWith(pull(t, `${liar.host}/app@sha256:${"0".repeat(64)}`), "image-corrupt", /gave sha256/);
  await rejectsWith(pull(t, "127.0.0.1:1/app:1"), "registry-failed", /could not be reached/);
});

test("challenges are read as RFC 9110 writes them", () => {
  assert.deepEqual(parseChallenges('Bearer realm="https://a/b?c=d,e",service="s\\"x", Basic realm=plain'), [
    { scheme: "bearer", parameters: { realm: "https://a/b?c=d,e", service: 's"x' } },
    { scheme: "basic", parameters: { realm: "plain" } },
  ]);
  assert.deepEqual(parseChallenges("Negotiate"), [{ scheme: "negotiate", parameters: {} }]);
  assert.deepEqual(parseChallenges('="'), []);
});
