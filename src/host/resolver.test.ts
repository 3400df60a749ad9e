import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { hostDns } from "./resolver.ts";

function files(t: TestContext, own: string, upstream: string): [string, string] {
  const dir = mkdtempSync(join(tmpdir(), "tripod-resolver-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const paths: [string, string] = [join(dir, "own"), join(dir, "upstream")];
  writeFileSync(paths[0], own);
  writeFileSync(paths[1], upstream);
  return paths;
}

test("a resolver on loopback alone is passed by for the servers behind it, and the search list is kept", (t) => {
  const dns = hostDns(...files(t, "nameserver 127.0.0.53\nsearch lan\n", "nameserver 192.0.2.53\n"));
  assert.deepEqual([dns.servers, dns.search], [["192.0.2.53"], ["lan"]]);
});

test("one server that sandboxes can reach is enough to stay with resolv.conf", (t) => {
  const own = "nameserver ::1\nnameserver 198.51.100.1\n";
  assert.deepEqual(hostDns(...files(t, own, "nameserver 192.0.2.53\n")).servers, ["::1", "198.51.100.1"]);
});

test("without any file there is no name server", () => {
  assert.deepEqual(hostDns("/nonexistent/a", "/nonexistent/b").servers, []);
});
