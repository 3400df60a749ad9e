/**
 * virtiofsd, which gives a guest a directory by virtiofs: a helper of the sandbox that runs as the monitor's own user, without a capability. What this user may not
 * do in the directory fails. Only the virtiofsd written in Rust runs so; QEMU's own, of versions before 8, wants to be root.
 */

import { TripodError } from "../spec/errors.ts";
import { type SandboxPath, sandboxPath } from "../spec/paths.ts";
import type { SeccompProfile } from "../spec/seccomp.ts";
import {
  type BindNeed,
  type HelperNeed,
  type Share,
  type SharedTree,
  isReadonlyTree,
} from "../spec/values.ts";
import { type ProgramNeeds, type RenderInput, mebibyte } from "./monitor.ts";
import { fileServerCalls, vmmSeccomp } from "./vmm-seccomp.ts";

export const shareServerNeeds: ProgramNeeds = { libraries: "as-linked", files: [] };
/** Bytes of memory that one needs, besides the guest's files in the page cache. */
export const shareServerBytes = 32 * mebibyte;
/** It keeps one for each file that the guest remembers, and this many are everywhere allowed without a privilege. */
const openFiles = 4096;
const listensAt = 3;
const sharePath = sandboxPath("/share");

const seccomp: SeccompProfile = vmmSeccomp([
  ...fileServerCalls,
  // Its one connection; the guest's memory comes through it.
  "accept4",
  "listen",
  "recvmsg",
  "sendmsg",
  "shutdown",
  // What it asks about itself, and gives up: it has nothing.
  "capget",
  "capset",
  "getgroups",
  "umask",
  "openat2",
  // Tried for a guest's user who is not root, and refused by the kernel.
  "setgroups",
  "setresuid",
  "setresgid",
]);

/** A share's directory in a private root. */
export const treeBind = ({ path, readonly, volumes }: SharedTree, at: SandboxPath): BindNeed => ({
  from: path,
  at,
  recursive: true,
  ...(readonly ? {} : { writable: true }),
  ...(volumes === undefined ? {} : { volumes }),
});

/** The helper of one share. Throws `monitor-missing` where there is no virtiofsd. */
export function shareServer(
  share: Share,
  found: RenderInput["shareServer"],
  reached: HelperNeed["reached"],
): HelperNeed {
  if (found === undefined)
    throw new TripodError("monitor-missing", `a directory by virtiofs (${share.tag}) needs virtiofsd`, {
      hint: "apt-get install virtiofsd, then tripod check",
    });
  return {
    program: found.program,
    argv: [
      "virtiofsd",
      `--fd=${listensAt}`,
      `--shared-dir=${sharePath}`,
      // The sandbox that it would make is there already, and narrower.
      "--sandbox=none",
      "--inode-file-handles=never",
      "--rlimit-nofile=0",
      "--log-level=error",
      ...(isReadonlyTree(share) ? ["--readonly"] : []),
      // Files of different file systems may have the same number, which then stand apart by the device's.
      ...(share.volumes === undefined ? [] : ["--announce-submounts"]),
    ],
    env: [],
    listensAt,
    reached,
    binds: [...found.needs, treeBind(share, sharePath)],
    proc: true,
    openFiles,
    seccomp,
  };
}
