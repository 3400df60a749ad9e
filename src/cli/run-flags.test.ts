import assert from "node:assert/strict";
import { test } from "node:test";
import { TripodError } from "../spec/errors.ts";
import { parseHostname, parsePorts } from "./run-flags.ts";

test("published ports are read as docker's", () => {
  const read = {
    "8080:80": { hostPort: 8080, guestPort: 80, protocol: "tcp" },
    "80": { hostPort: 0, guestPort: 80, protocol: "tcp" },
    ":80": { hostPort: 0, guestPort: 80, protocol: "tcp" },
    "127.0.0.1:8080:80/tcp": { hostIp: "127.0.0.1", hostPort: 8080, guestPort: 80, protocol: "tcp" },
    "127.0.0.1::80": { hostIp: "127.0.0.1", hostPort: 0, guestPort: 80, protocol: "tcp" },
    "[::1]:53:53/udp": { hostIp: "::1", hostPort: 53, guestPort: 53, protocol: "udp" },
  };
  for (const [text, port] of Object.entries(read)) assert.deepEqual(parsePorts([text]), [port], text);
});

test("what is no port mapping is refused by name", () => {
  for (const text of [
    "",
    "x",
    "80:",
    "80:0",
    "65536:80",
    "80:65536",
    "256.0.0.1:80:80",
    "80:80/sctp",
    "1:2:3",
    "[x]:1:2",
  ])
    assert.throws(
      () => parsePorts([text]),
      (error: unknown) =>
        error instanceof TripodError &&
        error.code === "usage" &&
        error.message.includes(JSON.stringify(text)),
      text,
    );
});

test("a host name is letters, digits, hyphens and dots, as long as the kernel takes", () => {
  const label = "a".repeat(63);
  for (const name of ["web", "web-1.example.org", "7", "WEB", label]) assert.equal(parseHostname(name), name);
  for (const name of [
    "",
    "-web",
    "web-",
    "a..b",
    "web.",
    "a b",
    "web\n127.0.0.1 evil",
    "a_b",
    "wéb",
    `${label}a`,
    `${label}.b`,
  ])
    assert.throws(
      () => parseHostname(name),
      (error: unknown) =>
        error instanceof TripodError &&
        error.code === "usage" &&
        /--hostname: .*no host name/.test(error.message),
      JSON.stringify(name),
    );
});
