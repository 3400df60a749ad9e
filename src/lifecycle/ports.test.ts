import assert from "node:assert/strict";
import { createServer } from "node:net";
import { test } from "node:test";
import { TripodError } from "../spec/errors.ts";
import type { PortMapping } from "../spec/plan.ts";
import { claimPorts } from "./ports.ts";

const tcp = (hostPort: number, hostIp?: string): PortMapping => ({
  ...(hostIp === undefined ? {} : { hostIp }),
  hostPort,
  guestPort: 80,
  protocol: "tcp",
});

test("a host port of 0 becomes a free one", async () => {
  const [claimed] = await claimPorts([tcp(0)]);
  assert.ok(claimed !== undefined && claimed.hostPort > 0);
});

test("a port with a listener is refused, and named with a remedy", async (t) => {
  const server = createServer().listen(0, "127.0.0.1");
  t.after(() => server.close());
  await new Promise((resolve) => server.once("listening", resolve));
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  await assert.rejects(claimPorts([tcp(address.port)]), (error: unknown) => {
    assert.ok(error instanceof TripodError);
    assert.equal(error.code, "port-in-use");
    assert.match(error.message, new RegExp(String(address.port)));
    assert.notEqual(error.hint, undefined);
    return true;
  });
});

test("one port published twice is refused before anything is bound", async () => {
  await assert.rejects(claimPorts([tcp(18_999), tcp(18_999, "127.0.0.1")]), /twice/);
});

test("an address that the machine does not have is named", async () => {
  await assert.rejects(claimPorts([tcp(0, "203.0.113.7")]), /203\.0\.113\.7/);
});
