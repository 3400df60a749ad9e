import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeEngineConfig } from "../../spec/engine-config.ts";
import { TripodError } from "../../spec/errors.ts";
import { hostPath } from "../../spec/paths.ts";
import { deriveConfig } from "./derive.ts";
import { isQueueProxy, natOf, podAddresses } from "./pod.ts";

const pool = "198.18.0.0/15";
const configOf = (annotations: Readonly<Record<string, string>>) =>
  decodeEngineConfig({ ociVersion: "1.0.2", annotations }, "/b/config.json");
const request = (neighbours: number) => ({
  op: "create" as const,
  version: 1 as const,
  id: "a",
  bundle: hostPath("/b"),
  stateDir: hostPath("/r/a"),
  systemdCgroup: false,
  console: false,
  neighbours,
  guests: 0,
  path: "",
});
const inPod = { "io.kubernetes.cri.sandbox-id": "pod1" };

test("a guest that is alone takes the interface over; beside others it has a network of its own", () => {
  assert.equal(natOf(configOf(inPod), request(0), pool), undefined);
  assert.ok(natOf(configOf(inPod), request(1), pool) !== undefined);
  assert.ok(
    natOf(configOf({ ...inPod, "io.kubernetes.cri.container-name": "user-container" }), request(0), pool),
  );
  assert.equal(natOf(configOf({ ...inPod, "dev.tripod.network": "redirect" }), request(3), pool), undefined);
  assert.deepEqual(
    natOf(configOf({ "dev.tripod.network": "nat", "dev.tripod.ports": "80, 53/udp" }), request(0), pool)
      ?.ports,
    [
      { port: 80, protocol: "tcp" },
      { port: 53, protocol: "udp" },
    ],
  );
});

const joined = (path: string, annotations = {}) =>
  decodeEngineConfig(
    { ociVersion: "1.0.2", annotations, linux: { namespaces: [{ type: "network", path }] } },
    "f",
  );

test("another container's namespace, named by its process, is not taken over; an orchestrator's is", () => {
  assert.ok(natOf(joined("/proc/42/ns/net"), request(0), pool) !== undefined);
  assert.equal(natOf(joined("/proc/42/ns/net", inPod), request(0), pool), undefined);
  assert.equal(natOf(joined("/var/run/netns/cni-1"), request(0), pool), undefined);
});

test("every container of a pod computes the same addresses, in the pool", () => {
  const [one, other] = ["io.kubernetes.cri.sandbox-id", "io.kubernetes.cri-o.SandboxID"].map((key) =>
    podAddresses(configOf({ [key]: "pod1" }), "whatever", pool),
  );
  assert.deepEqual(one, other);
  assert.match(one?.guest ?? "", /^198\.1[89]\./);
  assert.notDeepEqual(podAddresses(configOf({ "io.kubernetes.cri.sandbox-id": "pod2" }), "a", pool), one);
});

test("what the annotations say wrongly is told with their name", () => {
  for (const [key, value] of [
    ["dev.tripod.network", "host"],
    ["dev.tripod.ports", "0"],
    ["dev.tripod.ports", "65536"],
    ["dev.tripod.ports", "80/sctp"],
    ["dev.tripod.ports", "x".repeat(100_000)],
  ] as const)
    assert.throws(
      () => natOf(configOf({ "dev.tripod.network": "nat", [key]: value }), request(0), pool),
      (error) =>
        error instanceof TripodError &&
        error.code === "annotation-invalid" &&
        error.message.includes(key) &&
        error.message.length < 300,
    );
});

test("Knative's proxy is told where its guest is", () => {
  const raw = {
    ociVersion: "1.0.2",
    process: {
      env: [
        'SERVING_READINESS_PROBE={"tcpSocket":{"port":8080,"host":"127.0.0.1"},"successThreshold":1}',
        "REDIRECT_IP=1.2.3.4",
        "A=b",
      ],
      cwd: "/",
    },
    root: { path: "rootfs" },
    annotations: { "io.kubernetes.cri.container-name": "queue-proxy" },
  };
  assert.ok(isQueueProxy(decodeEngineConfig(raw, "f")));
  const derived = deriveConfig(raw, "/b", { ociVersionMax: "1.0.2", namespaces: [] }, "198.18.0.2");
  assert.deepEqual(derived?.config, {
    ...raw,
    process: {
      cwd: "/",
      env: [
        'SERVING_READINESS_PROBE={"tcpSocket":{"port":8080,"host":"198.18.0.2"},"successThreshold":1}',
        "A=b",
        "REDIRECT_IP=198.18.0.2",
      ],
    },
    root: { path: "/b/rootfs" },
  });
});
