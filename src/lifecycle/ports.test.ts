import assert from "node:assert/strict";
import { createServer } from "node:net";
import { test } from "node:test";
import { TripodError } from "../spec/errors.ts";
import { sandboxFile } from "../spec/fixtures.ts";
import { hostPath } from "../spec/paths.ts";
import type { PortMapping } from "../spec/plan.ts";
import type { SandboxFile } from "../spec/values.ts";
import { claimPorts, foreignRules, refuseUnreachable, settlePorts } from "./ports.ts";
import type { SandboxView } from "./store.ts";

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

test("a port that a network rule of another installation has is refused, and never chosen", async () => {
  const rule = { protocol: "tcp", firstPort: 18_990, lastPort: 18_990 } as const;
  await assert.rejects(claimPorts([tcp(18_990)], [rule]), (error: unknown) => {
    assert.ok(error instanceof TripodError);
    assert.equal(error.code, "port-in-use");
    assert.match(error.message, /18990\/tcp .*network rule of another installation/);
    assert.match(error.hint, /-p 18991:80/);
    return true;
  });
  assert.equal((await claimPorts([tcp(18_990)], [{ ...rule, protocol: "udp" }]))[0]?.hostPort, 18_990);
  const elsewhere = [{ ...rule, hostIp: "192.0.2.1" }];
  assert.equal((await claimPorts([tcp(18_990, "127.0.0.1")], elsewhere))[0]?.hostPort, 18_990);
  await assert.rejects(claimPorts([tcp(18_990)], elsewhere), /18990/);
  const allButFew = [{ ...rule, firstPort: 1, lastPort: 65_535, hostIp: "192.0.2.1" }];
  await assert.rejects(claimPorts([tcp(0)], allButFew), /no free host port/);
  const chosen = await claimPorts([tcp(0)], [{ ...rule, firstPort: 1, lastPort: 36_000 }]);
  assert.ok((chosen[0]?.hostPort ?? 0) > 36_000);
});

test("the rules of our own sandboxes are not another installation's", async () => {
  const own = at("01", "a", []);
  const rule = { protocol: "tcp", firstPort: 20_001, lastPort: 20_001 } as const;
  const rules = await foreignRules(
    async () => [running(own)],
    async () => [{ ...rule, containerId: own.id }, { ...rule, containerId: "b".repeat(32) }, rule],
  );
  assert.deepEqual(rules, [{ ...rule, containerId: "b".repeat(32) }, rule]);
});

test("an IPv6 address of the host is refused on our own bridge, which has none, and left to an operator's network", () => {
  assert.throws(
    () => refuseUnreachable([tcp(80), tcp(19_009, "::1")], "bridge"),
    (error: unknown) => {
      assert.ok(error instanceof TripodError);
      assert.equal(error.code, "usage");
      assert.match(error.message, /\[::1\]:19009.*IPv4/);
      assert.match(error.hint, /-p 127\.0\.0\.1:19009:80/);
      return true;
    },
  );
  refuseUnreachable([tcp(80, "127.0.0.1")], "bridge");
  refuseUnreachable([tcp(19_009, "::1")], "ipv6lab");
});

const at = (time: string, id: string, ports: readonly PortMapping[]): SandboxFile => ({
  ...sandboxFile,
  id: id.repeat(32),
  name: id,
  createdAt: `2026-01-01T00:00:${time}.000Z`,
  ports,
});
const running = (file: SandboxFile): SandboxView => ({
  file,
  state: undefined,
  status: "running",
  dir: hostPath("/nowhere"),
});

test("of two starts that were given the same free port the later is given another", async () => {
  const [earlier, later] = [at("01", "a", [tcp(20_001)]), at("02", "b", [tcp(20_001)])];
  const published: SandboxFile[] = [];
  const settled = await settlePorts(
    [tcp(0)],
    later,
    async () => [earlier, published.at(-1) ?? later].map(running),
    async (file) => void published.push(file),
  );
  assert.notEqual(settled.ports[0]?.hostPort, 20_001);
  assert.deepEqual(published, [settled]);
  const kept = await settlePorts(
    [tcp(0)],
    earlier,
    async () => [earlier, later].map(running),
    async () => assert.fail("the earlier keeps its own"),
  );
  assert.equal(kept, earlier);
});

test("a port that was asked for and is another sandbox's is refused, and a stopped one's is free", async () => {
  const [earlier, later] = [at("01", "a", [tcp(20_001)]), at("02", "b", [tcp(20_001)])];
  const settle = (status: SandboxView["status"]) =>
    settlePorts(
      [tcp(20_001)],
      later,
      async () => [{ ...running(earlier), status }],
      async () => assert.fail("nothing is chosen anew"),
    );
  await assert.rejects(settle("running"), /host port 20001\/tcp is published by a/);
  assert.equal(await settle("stopped"), later);
});
