import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { TripodError } from "./errors.ts";
import { canonicalName, familiarName, parseReference } from "./reference.ts";

const hex = "0123456789abcdef".repeat(4);

test("references are completed as docker completes them", () => {
  const cases: readonly (readonly [string, string, string])[] = [
    ["debian", "docker.io/library/debian:latest", "debian:latest"],
    ["debian:12", "docker.io/library/debian:12", "debian:12"],
    ["team/app", "docker.io/team/app:latest", "team/app:latest"],
    ["index.docker.io/debian", "docker.io/library/debian:latest", "debian:latest"],
    ["docker.io/library/debian", "docker.io/library/debian:latest", "debian:latest"],
    ["localhost/app", "localhost/app:latest", "localhost/app:latest"],
    ["localhost:5000/a/b__c:1", "localhost:5000/a/b__c:1", "localhost:5000/a/b__c:1"],
    ["[::1]:5000/app", "[::1]:5000/app:latest", "[::1]:5000/app:latest"],
    [`app@sha256:${hex}`, `docker.io/library/app@sha256:${hex}`, `app@sha256:${hex}`],
    [`reg.io/app:1@sha256:${hex}`, `reg.io/app:1@sha256:${hex}`, `reg.io/app:1@sha256:${hex}`],
    ["Host/app", "Host/app:latest", "Host/app:latest"],
    ["library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"],
  ];
  for (const [text, canonical, familiar] of cases) {
    assert.equal(canonicalName(parseReference(text)), canonical);
    assert.equal(familiarName(parseReference(text)), familiar);
  }
});

test("what is no reference is refused with the reason", () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ["", /name is missing/],
    ["reg.io/", /name is missing/],
    ["Debian", /capital/],
    ["a//b", /is not a name/],
    ["../etc/passwd", /is not a (?:name|host)/],
    ["a/../b", /is not a name/],
    ["/abs", /is not a name/],
    ["app:", /a tag has/],
    ["app:-x", /a tag has/],
    ["app@sha256:12", /64 hex/],
    ["app@sha512:" + hex + hex, /64 hex/],
    [hex, /taken for an id/],
    ["a".repeat(260), /longer than/],
    ["a\nb", /is not a name/],
    ["-reg.io/app", /is not a host/],
  ];
  for (const [text, why] of cases)
    assert.throws(
      () => parseReference(text),
      (error) => error instanceof TripodError && error.code === "usage" && why.test(error.message),
      text,
    );
});

test("property: canonical and familiar names read back as the same reference", () => {
  const component = fc.stringMatching(/^[a-z0-9]{1,8}(?:(?:\.|_|__|-{1,3})[a-z0-9]{1,8}){0,2}$/);
  const host = fc.oneof(
    fc.constantFrom("docker.io", "localhost", "localhost:5000", "[::1]:5000", "127.0.0.1:5000"),
    fc.stringMatching(/^[a-z0-9]{1,10}(?:\.[a-z0-9]{1,8}){1,2}(?::[1-9][0-9]{1,4})?$/),
  );
  const tag = fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,30}$/);
  fc.assert(
    fc.property(
      host,
      fc.array(component, { minLength: 1, maxLength: 4 }),
      fc.option(tag),
      fc.boolean(),
      (h, parts, t, d) => {
        const text = `${h}/${parts.join("/")}${t === null ? "" : `:${t}`}${d ? `@sha256:${hex}` : ""}`;
        const reference = parseReference(text);
        assert.deepEqual(parseReference(canonicalName(reference)), reference);
        assert.deepEqual(parseReference(familiarName(reference)), reference);
      },
    ),
  );
});

test("property: any text is a reference or a usage error", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 300 }), (text) => {
      try {
        const { path, tag } = parseReference(text);
        assert.ok(!path.split("/").some((part) => part === "" || part === "." || part === ".."));
        assert.ok(tag === undefined || !tag.includes("/"));
      } catch (error) {
        assert.ok(error instanceof TripodError && error.code === "usage");
      }
    }),
    { numRuns: 2000 },
  );
});
