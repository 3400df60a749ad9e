import assert from "node:assert/strict";
import { test } from "node:test";
import type { Digest } from "../spec/values.ts";
import { demandsOn } from "./demand.ts";

const one: Digest = `sha256:${"1".repeat(64)}`;
const two: Digest = `sha256:${"2".repeat(64)}`;

const holds = (pattern: string, image: string, digests: readonly Digest[] = []): boolean =>
  demandsOn([{ image: pattern, modes: [] }], { image, digests }).length > 0;

function check(pattern: string, under: readonly string[], free: readonly string[]): void {
  for (const image of under) assert.ok(holds(pattern, image), `${pattern} misses ${image}`);
  for (const image of free) assert.ok(!holds(pattern, image), `${pattern} takes ${image}`);
}

test("a demand on tags holds for the same repository by digest", () => {
  check(
    "127.0.0.1:5077/bb:*",
    ["127.0.0.1:5077/bb:1", `127.0.0.1:5077/bb@${one}`, `127.0.0.1:5077/bb:1@${one}`, "127.0.0.1:5077/bb"],
    ["127.0.0.1:5077/bbb:1", `127.0.0.1:5077/b@${one}`, "127.0.0.1:5078/bb:1", "bb:1"],
  );
  check("bb:1", ["bb:1", `bb@${one}`, `bb:2@${one}`], ["bb:2", "bb", `b@${one}`]);
  check("reg.io/bb*1", ["reg.io/bb:1", `reg.io/bb@${one}`, `reg.io/bbx@${one}`], ["reg.io/bb:2"]);
  check("*:latest", ["bb", `bb@${one}`, `ghcr.io/x/y@${one}`], ["bb:1"]);
  check("reg.io/a*/x", ["reg.io/ab/x:1"], [`reg.io/a@${one}`]);
});

test("a pattern is an image's in every spelling of both", () => {
  const names = ["bb:1", "docker.io/library/bb:1", "index.docker.io/bb:1", "docker.io/bb:1", "library/bb:1"];
  for (const pattern of [...names, "bb", "docker.io/library/bb", "bb:*", "docker.io/library/bb:*"])
    check(pattern, [...names, `bb@${one}`], ["team/bb:1", "ghcr.io/bb:1"]);
  check("evil/*", ["evil/x", "docker.io/evil/x:2", `evil/x@${one}`], ["ghcr.io/evil/x", "evil"]);
  check("ghcr.io/*", ["GHCR.IO/x", "ghcr.io:443/x", "Ghcr.io/x/y:1"], ["x", "ghcr.io:5000/x"]);
  check("GHCR.io:443/x:RC", ["ghcr.io/x:RC"], ["ghcr.io/x:rc"]);
  check("127.0.0.1:*", ["127.0.0.1:5077/bb:1", `127.0.0.1:5077/bb@${one}`], ["127.0.0.2:5077/bb:1"]);
  check("[::1]:5000/*", ["[::1]:5000/bb"], ["[::2]:5000/bb"]);
});

test("a pattern without a tag holds for every tag and digest", () => {
  check("bb", ["bb", "bb:1", `bb@${one}`, `bb:1@${one}`], ["bbb", "bb/b"]);
  check("*", ["bb", `ghcr.io/x@${one}`], []);
});

test("a pattern with a digest holds for the image that has it, however it was named", () => {
  assert.ok(holds(`bb@${one}`, "bb:1", [one]));
  assert.ok(holds(`bb:1@${one}`, `bb@${one}`));
  assert.ok(holds(`*@${one}`, "ghcr.io/x:7", [two, one]));
  assert.ok(!holds(`bb@${one}`, "bb:1", [two]));
  assert.ok(!holds(`bb:1@${one}`, `bb@${two}`, [two]));
});

test("a lenient demand on one tag does not free what could be another tag", () => {
  const lenient = { image: "bb:public", modes: ["container"] as const };
  const strict = { image: "bb", modes: ["unikernel"] as const };
  const on = (image: string) => demandsOn([lenient, strict], { image, digests: [one] });
  assert.deepEqual(on("bb:public"), [lenient]);
  assert.deepEqual(on("bb:1"), [strict]);
  assert.deepEqual(on(`bb@${one}`), [lenient, strict]);
  assert.deepEqual(on(`bb:public@${one}`), [lenient, strict]);
});
