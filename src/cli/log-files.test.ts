import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { hostPath } from "../spec/paths.ts";
import { readLog } from "./log-files.ts";

const scratch = mkdtempSync(join(tmpdir(), "tripod-log-"));
after(() => rmSync(scratch, { recursive: true, force: true }));
const deadline = { timeout: 20_000 };

function logDir() {
  const dir = hostPath(mkdtempSync(join(scratch, "dir-")));
  const log = join(dir, "log");
  /** As the warden rotates: `log.1` → `log.2`, `log` → `log.1`, at most `files` old ones. */
  const rotate = (files: number): void => {
    rmSync(`${log}.${files}`, { force: true });
    for (let n = files - 1; n >= 1; n--)
      try {
        renameSync(`${log}.${n}`, `${log}.${n + 1}`);
      } catch {
        // Not there yet.
      }
    renameSync(log, `${log}.1`);
    writeFileSync(log, "");
  };
  return { dir, log, rotate };
}

async function text(dir: ReturnType<typeof hostPath>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of readLog(dir, { follow: false, hasEnded: () => Promise.resolve(true) }))
    chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

test("reads rotated files oldest first, and nothing else in the directory", deadline, async () => {
  const { dir, log } = logDir();
  for (const [name, content] of [
    ["log.10", "a"],
    ["log.2", "b"],
    ["log.1", "c"],
    ["log", "d"],
  ] as const)
    writeFileSync(join(dir, name), content);
  for (const name of ["log.x", "logs", "log.1.gz", "xlog"]) writeFileSync(join(dir, name), "no");
  assert.equal(await text(dir), "abcd");
  rmSync(log);
  assert.equal(await text(dir), "abc");
  assert.equal(await text(hostPath(join(scratch, "gone"))), "");
});

test(
  "follows a writer through rotations until the sandbox ends, and loses and repeats nothing",
  deadline,
  async () => {
    const { dir, log, rotate } = logDir();
    writeFileSync(log, "start\n");
    let ended = false;
    const wrote = ["start"];
    const writer = (async () => {
      for (let n = 0; n < 200; n++) {
        appendFileSync(log, `${n}\n`);
        wrote.push(String(n));
        if (n % 25 === 24) {
          // Fewer rotations than files kept between two looks: what is rotated out unread is lost by design.
          await sleep(5);
          rotate(9);
        }
        if (n % 10 === 0) await sleep(1);
      }
      ended = true;
    })();
    const chunks: Uint8Array[] = [];
    for await (const chunk of readLog(dir, { follow: true, hasEnded: () => Promise.resolve(ended) }))
      chunks.push(chunk);
    await writer;
    assert.deepEqual(Buffer.concat(chunks).toString().trim().split("\n"), wrote);
  },
);

test(
  "says by an empty chunk that it waits, wakes at a write, and ends when the directory goes",
  deadline,
  async () => {
    const { dir, log } = logDir();
    writeFileSync(log, "a");
    let ended = false;
    const seen: string[] = [];
    let waits = 0;
    for await (const chunk of readLog(dir, { follow: true, hasEnded: () => Promise.resolve(ended) })) {
      seen.push(Buffer.from(chunk).toString());
      if (chunk.length > 0) continue;
      waits += 1;
      if (waits === 1) appendFileSync(log, "b");
      else {
        ended = true;
        rmSync(dir, { recursive: true });
      }
    }
    assert.equal(seen.join(""), "ab");
  },
);
