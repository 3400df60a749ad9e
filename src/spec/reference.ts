/**
 * Names of images as docker writes them (grammar of the distribution project's reference package): `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`.
 * Without a host the image is on docker.io, a single-name path is in `library/`, and without tag and digest the tag is `latest`.
 */

import { isDigest } from "./digest.ts";
import { TripodError } from "./errors.ts";
import type { Digest } from "./values.ts";

export interface Reference {
  /** `docker.io`, `registry.example:5000`, `[::1]:5000`. */
  readonly host: string;
  /** `library/debian`. */
  readonly path: string;
  /** Present unless only a digest was given. */
  readonly tag?: string;
  readonly digest?: Digest;
}

const hostPattern =
  /^(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?$/;
const componentPattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const maxNameLength = 255;

/** Reads a reference. Throws `usage`, saying which part is wrong. */
export function parseReference(text: string): Reference {
  const refuse = (why: string): TripodError =>
    new TripodError("usage", `${JSON.stringify(text.slice(0, 300))} is not an image reference: ${why}`, {
      hint: "a reference looks like debian:12, registry.example:5000/team/app:1.0 or app@sha256:…",
    });
  let rest = text;
  let digest: Digest | undefined;
  const at = rest.indexOf("@");
  if (at >= 0) {
    const given = rest.slice(at + 1);
    if (!isDigest(given)) throw refuse("after @ comes sha256: and 64 hex digits");
    digest = given;
    rest = rest.slice(0, at);
  }
  let tag: string | undefined;
  const colon = rest.lastIndexOf(":");
  if (colon > rest.lastIndexOf("/")) {
    tag = rest.slice(colon + 1);
    if (!tagPattern.test(tag))
      throw refuse("a tag has 1 to 128 letters, digits, _, . and -, and begins with none of the last two");
    rest = rest.slice(0, colon);
  }
  const { host, path } = splitHost(rest);
  if (!hostPattern.test(host)) throw refuse(`${JSON.stringify(host)} is not a host name`);
  if (path === "") throw refuse("the name is missing");
  if (/^[0-9a-f]{64}$/.test(rest)) throw refuse("64 hex digits would be taken for an id");
  for (const component of path.split("/"))
    if (!componentPattern.test(component))
      throw refuse(
        /[A-Z]/.test(component)
          ? `${JSON.stringify(component)} has capital letters`
          : `${JSON.stringify(component)} is not a name of lower-case letters and digits, with . _ or - between`,
      );
  if (host.length + 1 + path.length > maxNameLength)
    throw refuse(`it is longer than ${maxNameLength} characters`);
  if (tag === undefined && digest === undefined) tag = "latest";
  return { host, path, ...(tag === undefined ? {} : { tag }), ...(digest === undefined ? {} : { digest }) };
}

/** docker's rule: what has a dot, a colon or a capital, or is localhost, is a host. */
const isHostName = (first: string): boolean => first === "localhost" || /[.:A-Z]/.test(first);

function splitHost(name: string): { host: string; path: string } {
  const slash = name.indexOf("/");
  const first = slash < 0 ? "" : name.slice(0, slash);
  const isHost = isHostName(first);
  const host = isHost ? first : "docker.io";
  const path = isHost ? name.slice(slash + 1) : name;
  if (host !== "docker.io" && host !== "index.docker.io") return { host, path };
  return { host: "docker.io", path: path === "" || path.includes("/") ? path : `library/${path}` };
}

/** The one spelling under which the store keeps an image: host, path, and tag or digest or both. */
export function canonicalName(reference: Reference): string {
  const tag = reference.tag === undefined ? "" : `:${reference.tag}`;
  const digest = reference.digest === undefined ? "" : `@${reference.digest}`;
  return `${reference.host}/${reference.path}${tag}${digest}`;
}

/** The spelling for people of a canonical name; a name that another tool gave and that is no reference stays as it is. */
export function familiarSpelling(name: string): string {
  try {
    return familiarName(parseReference(name));
  } catch {
    return name;
  }
}

/** The spelling for people: without docker.io and `library/`, where it still reads back as the same image. */
export function familiarName(reference: Reference): string {
  const name = canonicalName(reference);
  if (reference.host !== "docker.io") return name;
  const parts = reference.path.split("/");
  if (parts.length === 2 && parts[0] === "library") return name.slice("docker.io/library/".length);
  return isHostName(parts[0] ?? "") ? name : name.slice("docker.io/".length);
}
