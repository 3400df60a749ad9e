import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { hostPath } from "../spec/paths.ts";
import { takeLock, tryLock } from "./lock.ts";
import { temporaryDir } from "./testing.ts";

test("of several processes only one at a time is inside", async (t) => {
  const dir = temporaryDir(t);
  const counter = join(dir, "counter");
  writeFileSync(counter, "0");
  // Without the lock, reading, waiting and writing would lose most increments.
  const program = `
    import { readFileSync, writeFileSync } from "node:fs";
    import { setTimeout as sleep } from "node:timers/promises";
    import { takeLock } from ${JSON.stringify(join(import.meta.dirname, "lock.ts"))};
    for (let i = 0; i < 20; i++) {
      const lock = await takeLock(${JSON.stringify(join(dir, "locks"))}, { key: "k", mode: "exclusive", deadlineMs: 20000 });
      const value = Number(readFileSync(${JSON.stringify(counter)}, "utf8"));
      await sleep(1);
      writeFileSync(${JSON.stringify(counter)}, String(value + 1));
      await lock.release();
    }`;
  const children = Array.from({ length: 3 }, () =>
    spawn(process.execPath, ["--input-type=module-typescript", "-e", program], {
      stdio: "inherit",
      timeout: 30_000,
    }),
  );
  const codes = await Promise.all(children.map(async (child) => (await once(child, "exit"))[0]));
  assert.deepEqual(codes, [0, 0, 0]);
  assert.equal(readFileSync(counter, "utf8"), "60");
  assert.deepEqual(readdirSync(join(dir, "locks")), []);
});

test("sharers share, keys are apart, and the dead hold nothing", async (t) => {
  const dir = hostPath(join(temporaryDir(t), "locks"));
  const shared = { key: "content", mode: "shared", deadlineMs: 0 } as const;
  const exclusive = { key: "content", mode: "exclusive", deadlineMs: 0 } as const;
  const [first, second] = [await takeLock(dir, shared), await takeLock(dir, shared)];
  assert.equal(await tryLock(dir, exclusive), undefined);
  await assert.rejects(takeLock(dir, exclusive), /another process held/);
  await (await takeLock(dir, { ...exclusive, key: "index" })).release();
  await first.release();
  await second.release();
  await second.release();
  // A pid that lives, but with another start time: the number was given to somebody else.
  writeFileSync(join(dir, `content.exclusive.${process.pid}.1.abc`), "");
  writeFileSync(join(dir, "content.exclusive.999999999.1.abc"), "");
  await (await takeLock(dir, exclusive)).release();
  assert.deepEqual(readdirSync(dir), []);
});

test("waiting ends with the signal", async (t) => {
  const dir = hostPath(join(temporaryDir(t), "locks"));
  mkdirSync(dir);
  const held = await takeLock(dir, { key: "k", mode: "exclusive", deadlineMs: 0 });
  const waiting = takeLock(dir, {
    key: "k",
    mode: "exclusive",
    deadlineMs: 10_000,
    signal: AbortSignal.timeout(50),
  });
  await assert.rejects(waiting, { name: /AbortError|TimeoutError/ });
  await held.release();
  assert.deepEqual(readdirSync(dir), []);
});
