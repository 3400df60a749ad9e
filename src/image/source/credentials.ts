/**
 * The user's registry credentials as docker and podman keep them; only read, never written. Looked for in the file that REGISTRY_AUTH_FILE names,
 * docker's `config.json` (DOCKER_CONFIG or `~/.docker`), podman's `auth.json` (XDG_RUNTIME_DIR, then `~/.config`); the first file that
 * knows the registry wins. Within a file: the registry's own helper, the entry itself, the general helper.
 */

import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { runProgram, searchDirs, which } from "../../host/process.ts";
import { TripodError, errnoOf } from "../../spec/errors.ts";

export type Credentials =
  | { readonly user: string; readonly password: string }
  /** A refresh token for the token server (docker's `identitytoken`). */
  | { readonly identityToken: string };

/** Environment variables, of which HOME, DOCKER_CONFIG, REGISTRY_AUTH_FILE and XDG_RUNTIME_DIR count; helpers get all. */
export type Environment = Readonly<Record<string, string | undefined>>;

const maxFileBytes = 1 << 20;
const helperDeadlineMs = 30_000;

const fileSchema = v.object({
  auths: v.optional(
    v.record(
      v.string(),
      v.object({
        auth: v.optional(v.string()),
        username: v.optional(v.string()),
        password: v.optional(v.string()),
        identitytoken: v.optional(v.string()),
      }),
    ),
    {},
  ),
  credsStore: v.optional(v.string()),
  credHelpers: v.optional(v.record(v.string(), v.string()), {}),
});
type AuthFile = v.InferOutput<typeof fileSchema>;

/** The credentials for a repository, or undefined to go without. Throws `registry-denied` when a file or helper of the user's is broken. */
export async function findCredentials(
  host: string,
  path: string,
  environment: Environment,
): Promise<Credentials | undefined> {
  for (const file of authFiles(environment)) {
    const content = readAuthFile(file);
    const found = content && (await lookUp(content, host, path, environment));
    if (found !== undefined) return found;
  }
  return undefined;
}

function authFiles(environment: Environment): readonly string[] {
  const { HOME, DOCKER_CONFIG, REGISTRY_AUTH_FILE, XDG_RUNTIME_DIR } = environment;
  return [
    REGISTRY_AUTH_FILE,
    DOCKER_CONFIG ? join(DOCKER_CONFIG, "config.json") : HOME && join(HOME, ".docker", "config.json"),
    XDG_RUNTIME_DIR && join(XDG_RUNTIME_DIR, "containers", "auth.json"),
    HOME && join(HOME, ".config", "containers", "auth.json"),
  ].filter((file): file is string => file !== undefined && file !== "");
}

function readAuthFile(path: string): AuthFile | undefined {
  const refuse = (why: string): TripodError =>
    new TripodError("registry-denied", `the credentials file ${path} ${why}`, {
      hint: `mend or remove ${path}`,
    });
  let text: string;
  try {
    if (statSync(path).size > maxFileBytes) throw refuse("is larger than 1 MiB");
    text = readFileSync(path, "utf8");
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === "ENOENT" || errno === "ENOTDIR") return undefined;
    throw errno === undefined ? error : refuse(`cannot be read: ${errno}`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The parser's message would quote the file, secrets included.
    throw refuse("is not JSON");
  }
  const result = v.safeParse(fileSchema, value);
  if (!result.success) throw refuse(`is malformed at ${v.getDotPath(result.issues[0]) ?? "its root"}`);
  return result.output;
}

async function lookUp(
  file: AuthFile,
  host: string,
  path: string,
  environment: Environment,
): Promise<Credentials | undefined> {
  const keys = keysFor(host, path);
  const helper = keys.map((key) => find(file.credHelpers, key)).find((entry) => entry !== undefined);
  if (helper !== undefined) return askHelper(helper.value, helper.key, environment);
  const entry = keys.map((key) => find(file.auths, key)).find((candidate) => candidate !== undefined);
  const own = entry && readEntry(entry.value);
  if (own !== undefined) return own;
  if (file.credsStore === undefined) return undefined;
  return askHelper(file.credsStore, host === "docker.io" ? "https://index.docker.io/v1/" : host, environment);
}

/** Most specific first: podman's files may name a repository or a part of its path. */
function keysFor(host: string, path: string): readonly string[] {
  const parts = path.split("/");
  const paths = parts.map((_, index) => `${host}/${parts.slice(0, parts.length - index).join("/")}`);
  return [...paths, host, ...(host === "docker.io" ? ["index.docker.io", "registry-1.docker.io"] : [])];
}

function find<Value>(entries: Readonly<Record<string, Value>>, key: string) {
  for (const [name, value] of Object.entries(entries))
    if (name.replace(/^https?:\/\//, "").replace(/(?:\/v[12])?\/?$/, "") === key) return { key: name, value };
  return undefined;
}

function readEntry(entry: AuthFile["auths"][string]): Credentials | undefined {
  if (entry.identitytoken) return { identityToken: entry.identitytoken };
  if (entry.username) return { user: entry.username, password: entry.password ?? "" };
  if (!entry.auth) return undefined;
  const pair = Buffer.from(entry.auth, "base64").toString("utf8").replace(/\0+$/, "");
  const colon = pair.indexOf(":");
  return colon <= 0 ? undefined : { user: pair.slice(0, colon), password: pair.slice(colon + 1) };
}

const answerSchema = v.object({ Username: v.string(), Secret: v.string() });

/** docker's helper protocol: `docker-credential-NAME get`, the server on stdin, JSON on stdout. */
async function askHelper(
  name: string,
  server: string,
  environment: Environment,
): Promise<Credentials | undefined> {
  const refuse = (why: string): TripodError =>
    new TripodError(
      "registry-denied",
      `the credential helper docker-credential-${name.slice(0, 60)} ${why}`,
      {
        hint: `try: echo ${server} | docker-credential-${name.slice(0, 60)} get`,
      },
    );
  if (!/^[A-Za-z0-9._-]+$/.test(name)) throw refuse("has no sound name");
  const program = which(`docker-credential-${name}`, searchDirs(environment.PATH));
  if (program === undefined) throw refuse("is not installed");
  // It is the user's own program and finds its secrets by the user's own environment.
  const env = Object.fromEntries(
    Object.entries(environment).filter((pair): pair is [string, string] => pair[1] !== undefined),
  );
  const result = await runProgram(program, ["get"], { input: server, deadlineMs: helperDeadlineMs, env });
  if (result.code !== 0) {
    if (/credentials not found/i.test(result.stdout + result.stderr)) return undefined;
    throw refuse(`failed with status ${result.code}`);
  }
  let answer: unknown;
  try {
    answer = JSON.parse(result.stdout);
  } catch {
    throw refuse("gave no JSON");
  }
  const decoded = v.safeParse(answerSchema, answer);
  if (!decoded.success) throw refuse("gave no user name and secret");
  const { Username, Secret } = decoded.output;
  return Username === "<token>" ? { identityToken: Secret } : { user: Username, password: Secret };
}
