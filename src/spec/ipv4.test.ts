import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ipv4Number, ipv4Subnet, ipv4Text, subnetsOverlap } from "./ipv4.ts";

test("property: an address is its number and back", () => {
  fc.assert(fc.property(fc.ipV4(), (text) => assert.equal(ipv4Text(ipv4Number(text) ?? -1), text)));
});

test("what is no address or subnet is none", () => {
  for (const bad of ["", "1.2.3", "1.2.3.256", "01.2.3.4", "1.2.3.4.5", "a.b.c.d"])
    assert.equal(ipv4Number(bad), undefined);
  for (const bad of ["1.2.3.4", "1.2.3.4/33", "1.2.3/8", "::/0", "1.2.3.4/-1"])
    assert.equal(ipv4Subnet(bad), undefined);
  assert.deepEqual(ipv4Subnet("10.1.2.3/30"), { first: 0x0a010200, size: 4 });
});

test("subnets overlap when one holds the other", () => {
  assert.ok(subnetsOverlap("10.0.0.0/8", "10.1.2.3/30"));
  assert.ok(subnetsOverlap("10.1.2.3/30", "10.0.0.0/8"));
  assert.ok(!subnetsOverlap("10.0.0.0/30", "10.0.0.4/30"));
  assert.ok(!subnetsOverlap("fd00::/8", "10.0.0.4/30"));
});
