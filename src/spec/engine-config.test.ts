import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  changed,
  containerdConfig,
  dockerConfig,
  engineConfigs,
  podmanConfig,
} from "./engine-config-fixtures.ts";
import { decodeEngineConfig, versionOf } from "./engine-config.ts";
import { TripodError } from "./errors.ts";

const file = "/b/config.json";
const decode = (content: unknown) => decodeEngineConfig(content, file);

function refusal(content: unknown): string | undefined {
  try {
    decode(content);
    return undefined;
  } catch (error) {
    assert.ok(error instanceof TripodError, String(error));
    assert.equal(error.code, "bundle-invalid");
    return error.message;
  }
}

test("what engines write is understood, absent and null alike", () => {
  for (const config of Object.values(engineConfigs)) decode(config);
  assert.equal(decode(containerdConfig).process?.env, null);
  assert.equal(decode(dockerConfig).linux?.resources?.cpu?.quota, 150_000);
  assert.deepEqual(versionOf(decode(podmanConfig)), [1, 1]);
  assert.deepEqual(versionOf(decode({ ociVersion: "1.2.0-rc.1+dev" })), [1, 2]);
  decode({ ociVersion: "1.0.0", process: null, root: null, hooks: null, linux: null, annotations: null });
});

test("what is wrong is told by its field", () => {
  const wrongs: readonly [unknown, RegExp][] = [
    [[], /^\/b\/config\.json: must be an object$/],
    [null, /must be an object/],
    [{}, /: ociVersion is missing$/],
    [{ ociVersion: 1 }, /: ociVersion must be a string$/],
    [{ ...podmanConfig, linux: [] }, /: linux must be an object$/],
    [{ ...podmanConfig, annotations: ["a"] }, /: annotations must be an object$/],
    [{ ...podmanConfig, annotations: { a: null } }, /: annotations\.a must be a string$/],
    [
      { ...podmanConfig, annotations: { "a\0": "b" } },
      /: annotations\.a\\0 holds a NUL|annotations.* holds a NUL/,
    ],
    [{ ...podmanConfig, process: { user: { uid: 0.5 } } }, /: process\.user\.uid must be a whole number$/],
    [
      { ...podmanConfig, hooks: { poststop: [{ path: "a" }] } },
      /: hooks\.poststop\.0\.path must be an absolute path$/,
    ],
    [{ ...podmanConfig, root: { path: "" } }, /: root\.path must not be empty$/],
    [{ ...podmanConfig, hostname: "ü".repeat(33) }, /: hostname is longer than 64 bytes$/],
  ];
  for (const [content, expected] of wrongs) assert.match(refusal(content) ?? "nothing", expected);
});

test("a real configuration with anything anywhere is understood or refused by its field, never worse", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...Object.values(engineConfigs)).chain((config) => changed(config)),
      ({ config, at }) => {
        const message = refusal(config);
        if (message === undefined) return;
        assert.ok(message.startsWith(`${file}: `) && message.length < 600, message.slice(0, 700));
        const [top] = at;
        if (top !== undefined)
          assert.ok(message.startsWith(`${file}: ${top}`), `${at.join(".")}: ${message}`);
      },
    ),
    { numRuns: 2000 },
  );
});

test("any JSON is refused or understood", () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 6 }), (text) => {
      refusal(JSON.parse(text));
    }),
  );
});
