/** Many sandboxes: one after the other, and at once. Nothing of them stays. */

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { assertNothingLeft, traces } from "../support/leftovers.ts";
import { type Lab, httpGet, makeLab } from "../support/tripod.ts";

const ways = [
  ["--mode", "container"],
  ["--monitor", "spt"],
  ["--mode", "container", "--network", "none"],
  ["--monitor", "spt", "--network", "none"],
] as const;

const wayOf = (index: number): readonly string[] => ways[index % ways.length] ?? ways[0];

/** Every path of a root, less what host-local remembers of the last address. */
const filesOf = (lab: Lab): string[] =>
  readdirSync(lab.root, { recursive: true, encoding: "utf8" })
    .filter((path) => !/\/last_reserved_ip\.\d+$/.test(path))
    .toSorted();

/** Once each way, so that bridge, base chains, layers and caches are there. */
async function warmUp(lab: Lab): Promise<void> {
  for (const way of ways) await lab.ok(["run", "--rm", ...way, "httpreply", "exit=0"]);
}

test("two hundred cycles of create, run and delete leak nothing", { timeout: 900_000 }, async (t) => {
  const lab = makeLab(t);
  await warmUp(lab);
  const [before, filesBefore] = [traces(lab.root), filesOf(lab)];
  const cycle = async (index: number): Promise<void> => {
    const way = wayOf(index);
    if (index % 8 < 4) {
      await lab.ok(["run", "--rm", ...way, "httpreply", "exit=0"]);
    } else {
      const id = (await lab.ok(["run", "-d", ...way, "httpreply"])).trim();
      await lab.ok(["rm", "-f", id]);
    }
  };
  for (let index = 0; index < 200; index += 2) await Promise.all([cycle(index), cycle(index + 1)]);
  await assertNothingLeft(lab.root, before, "by two hundred cycles");
  assert.deepEqual(filesOf(lab), filesBefore);
});

test("fifty sandboxes started at once all answer and leave nothing", { timeout: 600_000 }, async (t) => {
  const lab = makeLab(t);
  await warmUp(lab);
  const before = traces(lab.root);
  const patience = { timeoutMs: 240_000 };
  const started = await Promise.all(
    Array.from({ length: 50 }, (_, index) =>
      lab.ok(["run", "-d", "-p", "0:80", ...(ways[index % 2] ?? []), "httpreply"], patience),
    ),
  );
  const ids = started.map((line) => line.trim());
  const seen: unknown = JSON.parse(await lab.ok(["ps", "-o", "json"]));
  assert.ok(Array.isArray(seen));
  const addresses = new Set<string>(seen.map((sandbox: { readonly address: string }) => sandbox.address));
  assert.equal(addresses.size, 50);
  for (const address of addresses) assert.match(await httpGet(`http://${address}/healthz`), /ok/);
  await lab.ok(["rm", "-f", ...ids], patience);
  await assertNothingLeft(lab.root, before, "by fifty at once");
});
