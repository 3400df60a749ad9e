/** Debian's dockerd (20.10, with its containerd 1.6) on `tripod-runtime`; with TRIPOD_ENGINES_TODAY today's, from `script/test-engines --today`. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { hasPrograms } from "../support/engines.ts";
import { requires } from "../support/requires.ts";
import { dockerSuite } from "./docker.ts";

test("Debian's docker runs containers and unikernels", async (t) => {
  if (!requires(t, "docker", hasPrograms("/usr/sbin/dockerd", "docker"))) return;
  await dockerSuite(t, { dockerd: "/usr/sbin/dockerd" });
});

test("docker of today runs containers and unikernels", async (t) => {
  const today = process.env["TRIPOD_ENGINES_TODAY"];
  if (today === undefined || !existsSync(join(today, "dockerd"))) return t.skip("--today is not given");
  await dockerSuite(t, { dockerd: join(today, "dockerd"), path: today });
});
