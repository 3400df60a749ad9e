import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { TripodError } from "../spec/errors.ts";
import { sandboxFile } from "../spec/fixtures.ts";
import { hostPath } from "../spec/paths.ts";
import { killSandbox, pauseSandbox, resumeSandbox } from "./signal.ts";
import type { SandboxView } from "./store.ts";

test("a sandbox whose warden ends before it answers does not run", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "tripod-signal-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const server = createServer((socket) => socket.once("data", () => socket.destroy()));
  t.after(() => server.close());
  await new Promise<void>((resolve) => server.listen(join(dir, "control.sock"), resolve));
  const view: SandboxView = { file: sandboxFile, state: undefined, status: "running", dir: hostPath(dir) };
  for (const verb of [(of: SandboxView) => killSandbox(of, 15), pauseSandbox, resumeSandbox])
    await assert.rejects(verb(view), (error: unknown) => {
      assert.ok(error instanceof TripodError);
      assert.equal(error.code, "sandbox-busy");
      assert.equal(error.exit, 1);
      assert.match(error.message, /does not run/);
      return true;
    });
});
