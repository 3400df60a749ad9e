/** Our tables of messages and methods are what containerd publishes: its Go modules are fetched, and their protocol files compared field by field. */

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import * as bootstrap from "../../src/wire/bootstrap.ts";
import * as events from "../../src/wire/events.ts";
import * as metrics from "../../src/wire/metrics.ts";
import type { Kind, Method, Schema } from "../../src/wire/protobuf.ts";
import * as runtimeOptions from "../../src/wire/runtime-options.ts";
import * as sandbox from "../../src/wire/sandbox.ts";
import * as task from "../../src/wire/task.ts";
import * as ttrpc from "../../src/wire/ttrpc.ts";
import * as types from "../../src/wire/types.ts";
import * as wellKnown from "../../src/wire/well-known.ts";
import { requires } from "../support/requires.ts";
import { runToEnd, tree } from "../support/tripod.ts";

/** Modules, and where in them the protocol files lie. */
const modules = [
  ["github.com/containerd/containerd/api@v1.12.0", ""],
  ["github.com/containerd/cgroups/v3@v3.1.3", ""],
  ["github.com/containerd/ttrpc@v1.2.10", "request.proto"],
  ["github.com/gogo/googleapis@v1.4.1", "google/rpc/status.proto"],
  ["github.com/golang/protobuf@v1.3.5", "ptypes"],
] as const;

interface Published {
  /** Fields of each message by its full name: `3 repeated message containerd.types.Mount`. */
  readonly messages: Map<string, Readonly<Record<string, string>>>;
  readonly enums: Map<string, Readonly<Record<string, number>>>;
  /** Requests and responses of each service's methods. */
  readonly services: Map<string, Readonly<Record<string, readonly string[]>>>;
}

let published: Promise<Published | undefined> | undefined;

/** Undefined, and the test skipped, where the modules cannot be fetched. */
async function publishedFor(t: TestContext): Promise<Published | undefined> {
  published ??= fetchPublished();
  const found = await published;
  return requires(t, "containerd's published protocol", found !== undefined) ? found : undefined;
}

async function fetchPublished(): Promise<Published | undefined> {
  const settings = Object.entries(process.env).filter(([name]) =>
    /^(GO[A-Z]+|https?_proxy|no_proxy)$/i.test(name),
  );
  const env = {
    ...Object.fromEntries(settings.map(([name, value]) => [name, value ?? ""])),
    GOMODCACHE: join(tree, "build/tests/go-modules"),
    GOFLAGS: "-modcacherw",
  };
  const argv = ["mod", "download", "-json", ...modules.map(([module]) => module)];
  const outcome = await runToEnd("go", argv, { env, timeoutMs: 120_000 }).catch(() => undefined);
  if (outcome?.code !== 0) return undefined;
  const texts = modules.flatMap(([module, part]) => protocolFiles(join(env.GOMODCACHE, module, part)));
  return readPublished(texts);
}

function protocolFiles(path: string): readonly string[] {
  if (path.endsWith(".proto")) return [readFileSync(path, "utf8")];
  return readdirSync(path, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".proto"))
    .map((name) => readFileSync(join(path, name), "utf8"));
}

interface Block {
  readonly keyword: string;
  readonly name: string;
  /** Statements that lie in no inner block. */
  readonly statements: readonly string[];
}

/** Every message, enum and service of a file by its full name, inner ones too. Braces of other statements are passed over. */
function blocksOf(text: string): readonly Block[] {
  const code = text.replaceAll(/"(?:[^"\\]|\\.)*"|\/\/.*|\/\*[\s\S]*?\*\//g, (found) =>
    found.startsWith('"') ? '""' : " ",
  );
  const top = {
    keyword: "file",
    name: /\bpackage\s+([\w.]+)\s*;/.exec(code)?.[1] ?? "",
    statements: [] as string[],
  };
  const found = [top];
  const open = [top];
  let statement = "";
  for (const character of code) {
    if (character === "{") {
      const [, keyword = "other", name = ""] = /^\s*(message|enum|service)\s+(\w+)\s*$/.exec(statement) ?? [];
      const block = { keyword, name: `${open.at(-1)?.name}.${name}`, statements: [] };
      found.push(block);
      open.push(block);
    } else if (character === "}") open.pop();
    else if (character === ";") open.at(-1)?.statements.push(statement.trim());
    statement = "{};".includes(character) ? "" : statement + character;
  }
  return found;
}

const fieldPattern =
  /^(?:(repeated|optional)\s+)?(?:map\s*<\s*string\s*,\s*([\w.]+)\s*>|([\w.]+))\s+(\w+)\s*=\s*(\d+)\s*(?:\[.*\])?$/s;

function readPublished(texts: readonly string[]): Published {
  const blocks = texts.flatMap(blocksOf);
  const enumNames = new Set(blocks.filter(({ keyword }) => keyword === "enum").map(({ name }) => name));
  const messageNames = new Set(blocks.filter(({ keyword }) => keyword === "message").map(({ name }) => name));
  /** A type's full name, looked for from the innermost scope outwards. */
  const resolve = (type: string, scope: string): string => {
    for (let outer = scope; ; outer = outer.slice(0, Math.max(0, outer.lastIndexOf(".")))) {
      const name = outer === "" ? type : `${outer}.${type}`;
      if (enumNames.has(name)) return "enum";
      if (messageNames.has(name)) return `message ${name}`;
      if (outer === "") return type;
    }
  };
  const result: Published = { messages: new Map(), enums: new Map(), services: new Map() };
  for (const { keyword, name, statements } of blocks)
    if (keyword === "message") {
      const fields = statements.flatMap((statement) => {
        const [, label, mapped, type = "", field = "", number] = fieldPattern.exec(statement) ?? [];
        if (number === undefined) return [];
        const shape = mapped === undefined ? (label ?? "single") : "map";
        return [[camelCase(field), `${number} ${shape} ${resolve(mapped ?? type, name)}`]];
      });
      result.messages.set(name, Object.fromEntries(fields));
    } else if (keyword === "enum") {
      const values = statements.flatMap((statement) => {
        const [, value = "", number] = /^(\w+)\s*=\s*(-?\d+)/.exec(statement) ?? [];
        return number === undefined ? [] : [[value, Number(number)]];
      });
      result.enums.set(name, Object.fromEntries(values));
    } else if (keyword === "service") {
      const pattern = /^rpc\s+(\w+)\s*\(\s*([\w.]+)\s*\)\s*returns\s*\(\s*([\w.]+)\s*\)/;
      const methods = statements.flatMap((statement) => {
        const [, method = "", ...both] = pattern.exec(statement) ?? [];
        return method === ""
          ? []
          : [[method, both.map((type) => resolve(type, name).replace("message ", ""))]];
      });
      result.services.set(name, Object.fromEntries(methods));
    }
  return result;
}

const camelCase = (name: string): string =>
  name.replaceAll(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());

const element = (inner: Kind): string =>
  typeof inner === "string" ? inner.replace("big", "") : "name" in inner ? `message ${inner.name}` : "";

/** A kind in the words of the published files. */
function words(kind: Kind): string {
  if (typeof kind === "string" || "fields" in kind) return `single ${element(kind)}`;
  if ("optional" in kind) return `optional ${element(kind.optional)}`;
  return "map" in kind ? `map ${element(kind.map)}` : `repeated ${element(kind.repeated)}`;
}

const isSchema = (value: unknown): value is Schema =>
  typeof value === "object" && value !== null && "byNumber" in value;

/** Every table that our modules export, and those within. */
function ownSchemas(): ReadonlyMap<string, Schema> {
  const found = new Map<string, Schema>();
  const add = (schema: Schema): void => {
    if (found.has(schema.name))
      assert.equal(found.get(schema.name), schema, `${schema.name} is described twice`);
    found.set(schema.name, schema);
    for (const [, kind] of Object.values(schema.fields)) {
      if (typeof kind === "string") continue;
      const inner =
        "fields" in kind ? kind : "repeated" in kind ? kind.repeated : "map" in kind ? kind.map : "";
      if (isSchema(inner)) add(inner);
    }
  };
  const exported = [bootstrap, events, metrics, runtimeOptions, sandbox, task, ttrpc, types, wellKnown];
  for (const value of exported.flatMap((module) => Object.values<unknown>(module)))
    if (isSchema(value)) add(value);
  return found;
}

test("every message has the published fields: names, numbers and kinds", async (t) => {
  const found = await publishedFor(t);
  if (found === undefined) return;
  const own = ownSchemas();
  assert.ok(own.size > 100, `${own.size} messages`);
  for (const [name, { fields }] of own) {
    const table = Object.entries(fields).map(([field, [number, kind]]) => [
      field,
      `${number} ${words(kind)}`,
    ]);
    assert.deepEqual(Object.fromEntries(table), found.messages.get(name), name);
  }
});

test("every service has the published methods", async (t) => {
  const found = await publishedFor(t);
  if (found === undefined) return;
  const services: readonly (readonly [string, Readonly<Record<string, Method>>])[] = [
    [task.taskServices[0], task.taskMethods],
    [sandbox.sandboxService, sandbox.sandboxMethods],
    [events.eventsService, events.eventsMethods],
  ];
  for (const [name, methods] of services) {
    const table = Object.entries(methods).map(([method, { request, response }]) => [
      method,
      [request.name, response.name],
    ]);
    assert.deepEqual(Object.fromEntries(table), found.services.get(name), name);
  }
});

test("version 3 of the Task service is version 2 under another name", async (t) => {
  const found = await publishedFor(t);
  if (found === undefined) return;
  const version = (number: number): unknown =>
    JSON.parse(
      JSON.stringify([
        [...found.messages].filter(([name]) => name.startsWith(`containerd.task.v${number}.`)),
        found.services.get(`containerd.task.v${number}.Task`),
      ]).replaceAll(`containerd.task.v${number}.`, "containerd.task."),
    );
  assert.deepEqual(version(3), version(2));
  assert.ok(found.services.has(task.taskServices[1]));
});

test("every event has a topic, and numbers have the published names", async (t) => {
  const found = await publishedFor(t);
  if (found === undefined) return;
  const told = [...found.messages.keys()].filter((name) =>
    /^containerd\.events\.(Task(?!IO$)|Sandbox)/.test(name),
  );
  assert.deepEqual(
    Object.values<Schema>(events.eventTopics)
      .map(({ name }) => name)
      .toSorted(),
    told.toSorted(),
  );
  const renamed = (enumName: string, prefix: string) =>
    Object.fromEntries(
      Object.entries(found.enums.get(enumName) ?? {}).map(([name, number]) => [
        name.replace(prefix, "").toLowerCase(),
        number,
      ]),
    );
  assert.deepEqual(task.taskStatus, renamed("containerd.v1.types.Status", ""));
  assert.deepEqual(bootstrap.logLevels, renamed("containerd.runtime.bootstrap.v1.LogLevel", "LOG_LEVEL_"));
});
