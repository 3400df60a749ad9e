import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { TripodError } from "../spec/errors.ts";
import { hostPath } from "../spec/paths.ts";
import { ensureNetwork, freeSubnet } from "./network.ts";

const toNumber = (address: string): number =>
  address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);

test("a free subnet never overlaps what is taken", () => {
  const range = fc
    .tuple(fc.nat(0xffffffff), fc.nat(0x2000))
    .map(([first, size]) => [first, first + size] as const);
  fc.assert(
    fc.property(fc.nat(), fc.array(range, { maxLength: 40 }), (seed, taken) => {
      const subnet = freeSubnet(seed, taken);
      if (subnet === undefined) return;
      const first = toNumber(subnet.split("/")[0] ?? "");
      assert.equal(first % 4096, 0);
      for (const [from, to] of taken)
        assert.ok(to < first || first + 4095 < from, `${subnet} meets ${from}-${to}`);
    }),
  );
});

test("the whole range taken leaves no subnet", () => {
  assert.equal(freeSubnet(5, [[toNumber("10.0.0.0"), toNumber("10.255.255.255")]]), undefined);
});

test("the default network is written once and the same for many at once", async (t) => {
  const lib = hostPath(await mkdtemp(join(tmpdir(), "tripod-net-")));
  t.after(() => rm(lib, { recursive: true }));
  await Promise.all(Array.from({ length: 8 }, () => ensureNetwork(lib, "bridge")));
  const list: unknown = JSON.parse(await readFile(join(lib, "networks", "bridge.conflist"), "utf8"));
  assert.match(JSON.stringify(list), /"type":"bridge","bridge":"tripod-[0-9a-f]{8}"/);
});

test("an unknown network is named together with those there are", async (t) => {
  const lib = hostPath(await mkdtemp(join(tmpdir(), "tripod-net-")));
  t.after(() => rm(lib, { recursive: true }));
  await ensureNetwork(lib, "bridge");
  await assert.rejects(ensureNetwork(lib, "blue"), (error: unknown) => {
    assert.ok(error instanceof TripodError);
    assert.equal(error.code, "network-not-found");
    assert.match(error.hint ?? "", /none, bridge/);
    return true;
  });
});
