/**
 * Branded strings for paths. A path from outside stays an `UntrustedPath` until a resolver has proved
 * that it cannot leave its root; the plan carries only the kinds below.
 */

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

/** An absolute path on the host, chosen by us or by the operator. */
export type HostPath = Branded<"HostPath">;
/** An absolute path inside a sandbox's private root. */
export type SandboxPath = Branded<"SandboxPath">;
/** A relative path beneath one sandbox's state directory, without `..`, `.` or empty parts. */
export type StatePath = Branded<"StatePath">;
/** A cgroup path, absolute within the hierarchy, e.g. `/tripod/default/3f2a…`. */
export type CgroupPath = Branded<"CgroupPath">;
/** A path read from an image, an annotation or a bundle: not yet proved to stay anywhere. */
export type UntrustedPath = Branded<"UntrustedPath">;

const plainParts = (path: string): boolean =>
  !path.includes("\0") && path.split("/").every((part) => part !== "" && part !== "." && part !== "..");

/** Brands an absolute, NUL-free path. Throws `TypeError` on anything else: a bug of the caller, not of the user. */
export function hostPath(path: string): HostPath {
  if (!path.startsWith("/") || path.includes("\0"))
    throw new TypeError(`not an absolute path: ${JSON.stringify(path)}`);
  return path as HostPath;
}

/** Brands an absolute, clean path inside a sandbox's root. Throws `TypeError` on anything else. */
export function sandboxPath(path: string): SandboxPath {
  if (path !== "/" && (!path.startsWith("/") || !plainParts(path.slice(1))))
    throw new TypeError(`not a clean absolute path: ${JSON.stringify(path)}`);
  return path as SandboxPath;
}

/** Brands a clean relative path beneath the state directory. Throws `TypeError` on anything else. */
export function statePath(path: string): StatePath {
  if (!plainParts(path)) throw new TypeError(`not a clean relative path: ${JSON.stringify(path)}`);
  return path as StatePath;
}

/** Brands a clean absolute cgroup path. Throws `TypeError` on anything else. */
export function cgroupPath(path: string): CgroupPath {
  if (!path.startsWith("/") || !plainParts(path.slice(1)))
    throw new TypeError(`not a clean cgroup path: ${JSON.stringify(path)}`);
  return path as CgroupPath;
}

/** Marks a string from outside. */
export const untrustedPath = (path: string): UntrustedPath => path as UntrustedPath;
