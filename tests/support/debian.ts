/** A real image made outside this project: a Debian root by debootstrap, packed by umoci, pushed by skopeo to Debian's registry on loopback. */

import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { eventually, runToEnd, tree } from "./tripod.ts";

async function must(file: string, argv: readonly string[], timeoutMs: number): Promise<void> {
  const outcome = await runToEnd(file, argv, { timeoutMs });
  if (outcome.code !== 0)
    throw new Error(
      `${file} ${argv.join(" ")} ended with ${outcome.code}:\n${outcome.stdout}${outcome.stderr}`,
    );
}

/** An OCI layout with the tag `12`, made once per tree: a bootstrap takes a minute. */
export async function debianLayout(): Promise<string> {
  const kept = join(tree, "build/tests/debian-layout");
  if (existsSync(kept)) return kept;
  mkdirSync(join(tree, "build/tests"), { recursive: true });
  const work = mkdtempSync(join(tree, "build/tests/.debian-"));
  try {
    const root = join(work, "root");
    await must("debootstrap", ["--variant=minbase", "bookworm", root], 400_000);
    rmSync(join(root, "var/cache/apt/archives"), { recursive: true, force: true });
    rmSync(join(root, "var/lib/apt/lists"), { recursive: true, force: true });
    const layout = join(work, "layout");
    const image = `${layout}:12`;
    await must("umoci", ["init", "--layout", layout], 20_000);
    await must("umoci", ["new", "--image", image], 20_000);
    await must("umoci", ["insert", "--image", image, root, "/"], 200_000);
    await must(
      "umoci",
      [
        "config",
        "--image",
        image,
        "--config.cmd",
        "bash",
        "--config.env",
        "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
      ],
      20_000,
    );
    renameSync(layout, kept);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return kept;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (typeof address !== "object" || address === null) throw new Error("no port");
  return address.port;
}

/** A registry on loopback for one test; returns `127.0.0.1:PORT`. */
export async function startRegistry(t: TestContext): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), "tripod-registry-"));
  const port = await freePort();
  const config = join(dir, "config.yml");
  writeFileSync(
    config,
    `version: 0.1\nlog: {level: error}\nstorage:\n  filesystem: {rootdirectory: ${dir}/data}\nhttp: {addr: "127.0.0.1:${port}"}\n`,
  );
  const child = spawn("docker-registry", ["serve", config], { stdio: "ignore" });
  t.after(() => {
    child.kill("SIGKILL");
    rmSync(dir, { recursive: true, force: true });
  });
  const host = `127.0.0.1:${port}`;
  await eventually("the registry", () =>
    fetch(`http://${host}/v2/`).then(
      (answer) => (answer.ok ? true : undefined),
      () => undefined,
    ),
  );
  return host;
}

/** Pushes a tag of an OCI layout; returns the reference. */
export async function push(layout: string, tag: string, host: string, name: string): Promise<string> {
  await must(
    "skopeo",
    [
      "copy",
      "--insecure-policy",
      "--dest-tls-verify=false",
      `oci:${layout}:${tag}`,
      `docker://${host}/${name}:${tag}`,
    ],
    200_000,
  );
  return `${host}/${name}:${tag}`;
}
