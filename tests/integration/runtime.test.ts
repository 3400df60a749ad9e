/** The OCI command line, called as engines call it. */

import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { makeRuntimeLab } from "../support/runtime.ts";

const namespaces = ["pid", "network", "ipc", "uts", "mount", "time"].map((type) => ({ type }));

test("a bundle of a newer specification runs by the real runc, which is told what it knows", async (t) => {
  const lab = makeRuntimeLab(t);
  const bundle = lab.container("new", {
    args: ["/bin/busybox", "sh", "-c", "echo here; exit 7"],
    config: { ociVersion: "1.2.1" },
    linux: { namespaces },
  });
  const direct = await lab.runc(["run", "--bundle", bundle, "direct"]);
  if (direct.code === 7) return t.diagnostic("the runc of this machine knows the time namespace itself");
  const ran = await lab.run(["run", "--bundle", bundle, "box"]);
  assert.equal(ran.code, 7, ran.stderr);
  assert.equal(ran.stdout, "here\n");
  assert.match(ran.logged[0]?.msg ?? "", /time namespace.*left out/);
  await lab.ok(["create", "--bundle", bundle, "made"]);
  const derived = join(lab.root, ".made.tripod.bundle");
  assert.ok(existsSync(join(derived, "config.json")));
  await lab.ok(["start", "made"]);
  await lab.ok(["delete", "--force", "made"]);
  assert.deepEqual(
    readdirSync(lab.root).filter((name) => name.includes("made")),
    [],
  );
});
