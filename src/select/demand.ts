/**
 * The policy's demands on images by name. One image has several names (`debian:12`, `docker.io/library/debian:12`, `debian@sha256:…`), and
 * none of them must get around a demand on another: a pattern is held against every spelling, and a name that leaves open which tag is meant
 * falls under the demands on any tag.
 */

import { type Reference, parseReference } from "../spec/reference.ts";
import type { Digest, PolicyDemand } from "../spec/values.ts";

/**
 * Whether a name matches a pattern in which `*` stands for any run of characters, `/` included. Linear in both: patterns are the operator's,
 * but names come from anywhere.
 */
export function matchesPattern(pattern: string, name: string): boolean {
  const parts = pattern.split("*");
  const first = parts[0] ?? "";
  if (parts.length === 1) return pattern === name;
  const last = parts.at(-1) ?? "";
  if (name.length < first.length + last.length) return false;
  if (!name.startsWith(first) || !name.endsWith(last)) return false;
  let at = first.length;
  const end = name.length - last.length;
  for (const part of parts.slice(1, -1)) {
    const found = name.indexOf(part, at);
    if (found < 0 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}

/** What is known of an image's names. */
export interface ImageNames {
  /** As it was asked for. */
  readonly image: string;
  /** What it stands for: of the index and of its manifests. */
  readonly digests: readonly Digest[];
}

/**
 * The demands that hold for an image: the first whose pattern matches it, and before that each that would match it under another tag, where
 * the name has a digest, because a digest may be any tag's. What one of them forbids is forbidden.
 */
export function demandsOn(demands: readonly PolicyDemand[], names: ImageNames): readonly PolicyDemand[] {
  const holding: PolicyDemand[] = [];
  // Every start comes here, most without a demand.
  if (demands.length === 0) return holding;
  const spelled = spellings(names);
  for (const demand of demands) {
    const match = matchOf(demand.image, spelled);
    if (match !== "none") holding.push(demand);
    if (match === "sure") break;
  }
  return holding;
}

interface Spellings {
  readonly repositories: readonly string[];
  /** What follows the repository in the names that are surely the image's. */
  readonly suffixes: readonly string[];
  readonly hasAnyTag: boolean;
  readonly digests: readonly Digest[];
}

function spellings({ image, digests }: ImageNames): Spellings {
  const reference = readReference(image);
  if (reference === undefined) return { repositories: [image], suffixes: [""], hasAnyTag: false, digests };
  const { tag, digest } = reference;
  const all = digest === undefined ? digests : [...digests, digest];
  // Next to a digest, a tag is decoration: nothing compares them.
  const tags = tag === undefined || digest !== undefined ? [] : [`:${tag}`];
  return {
    repositories: repositoriesOf(reference),
    suffixes: ["", ...tags, ...all.flatMap((one) => ["", ...tags].map((before) => `${before}@${one}`))],
    hasAnyTag: digest !== undefined,
    digests: all,
  };
}

function readReference(image: string): Reference | undefined {
  try {
    return parseReference(image);
  } catch {
    return undefined;
  }
}

/** All ways to write host and path: docker.io may be left out, hosts have no case, and the usual ports go without saying. */
function repositoriesOf({ host, path }: Reference): readonly string[] {
  const name = host.toLowerCase();
  const bare = name.replace(/(?<=[^:]):(?:443|80)$/, "");
  const hosts = bare !== name || !/:\d+$/.test(name) ? [bare, `${bare}:443`, `${bare}:80`] : [name];
  if (bare !== "docker.io") return hosts.map((one) => `${one}/${path}`);
  const paths = path.startsWith("library/") ? [path, path.slice("library/".length)] : [path];
  return paths.flatMap((one) => [one, ...hosts.map((own) => `${own}/${one}`), `index.docker.io/${one}`]);
}

function matchOf(written: string, { repositories, suffixes, hasAnyTag, digests }: Spellings) {
  const slash = written.lastIndexOf("/");
  const pattern = written.slice(0, slash + 1).toLowerCase() + written.slice(slash + 1);
  if (repositories.some((name) => suffixes.some((suffix) => matchesPattern(pattern, name + suffix))))
    return "sure";
  if (!hasAnyTag) return "none";
  const at = pattern.indexOf("@");
  const [named, digest] = at < 0 ? [pattern, "*"] : [pattern.slice(0, at), pattern.slice(at + 1)];
  if (!digests.some((one) => matchesPattern(digest, one))) return "none";
  return repositories.some((name) => matchesSomeTag(named, name)) ? "possible" : "none";
}

/** Whether there is a tag with which the repository's name would match. */
function matchesSomeTag(pattern: string, repository: string): boolean {
  const start = `${repository}:`;
  // What can match within a tag is an end of the pattern; a `*` at its beginning may match on both sides of it.
  for (let at = pattern.length - 1; at >= 0 && /[\w.*-]/.test(pattern[at] ?? ""); at--) {
    const before = pattern.slice(0, at);
    if (matchesPattern(before, start) || (pattern[at] === "*" && matchesPattern(`${before}*`, start)))
      return true;
  }
  return false;
}
