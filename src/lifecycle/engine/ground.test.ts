import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeEngineConfig } from "../../spec/engine-config.ts";
import { TripodError } from "../../spec/errors.ts";
import { hostPath } from "../../spec/paths.ts";
import { groundOf } from "./ground.ts";

const ground = (namespaces: readonly object[]): ReturnType<typeof groundOf> => {
  const raw = { ociVersion: "1.0.2", linux: { namespaces } };
  return groundOf(
    { dir: hostPath("/b"), config: decodeEngineConfig(raw, "/b/config.json"), raw, rootfs: undefined },
    {
      op: "create",
      version: 1,
      id: "a",
      bundle: hostPath("/b"),
      stateDir: hostPath("/r/a"),
      systemdCgroup: false,
      console: false,
      neighbours: 0,
      guests: 0,
      path: "",
    },
    "198.18.0.0/15",
  );
};

test("the host's own network is refused, whether it is left out of the namespaces or named by a path", () => {
  for (const namespaces of [
    [],
    [{ type: "network", path: "/proc/self/ns/net" }],
    [{ type: "network", path: `/proc/${process.pid}/ns/net` }],
  ])
    assert.throws(
      () => ground(namespaces),
      (error) => error instanceof TripodError && /host's own network/.test(error.message),
    );
});

test("another network namespace is joined, and without a path a new one is made", () => {
  assert.equal(ground([{ type: "network", path: "/run/netns/x" }]).networkNamespace, "/run/netns/x");
  assert.equal(ground([{ type: "network" }]).networkNamespace, undefined);
});
