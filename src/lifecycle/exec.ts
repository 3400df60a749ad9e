/** exec: a second program in a container, by its own OCI runtime. A unikernel has one program: refused at once. */

import type { SandboxView } from "./store.ts";
import { readContainerFile } from "../host/container-files.ts";
import { resolveUser } from "../spec/users.ts";
import { askRuntime, requireContainer } from "./oci-runtime.ts";

export interface ExecRequest {
  readonly argv: readonly string[];
  readonly env: readonly string[];
  readonly tty: boolean;
  readonly interactive: boolean;
  readonly user?: string;
  readonly cwd?: string;
}

/**
 * Runs a program in the sandbox with our own standard streams; returns its exit status (128 + signal when killed). Throws `exec-refused` where the mode has
 * no second program and `sandbox-busy` when the sandbox does not run.
 */
export async function execInSandbox(view: SandboxView, request: ExecRequest): Promise<number> {
  requireContainer(view, "it holds one program and no way to start a second");
  const { file } = view;
  const words: string[] = [];
  if (request.tty) words.push("--tty");
  for (const entry of request.env) words.push("--env", entry);
  if (request.user !== undefined) words.push(...(await userArguments(view, request.user)));
  if (request.cwd !== undefined) words.push("--cwd", request.cwd);
  words.push(file.id, ...request.argv);
  return askRuntime(view, "exec", words, { interactive: request.interactive });
}

/** passwd and group of a container that are longer are not read. */
const maxUserFileBytes = 4 << 20;

/** The runtimes take numbers alone; names are the container's own, as it has them now. Throws `image-invalid` for one that it does not have. */
async function userArguments({ file, state }: SandboxView, user: string): Promise<string[]> {
  const read = async (name: string): Promise<string> =>
    (state === undefined ? undefined : await readContainerFile(state, ["etc", name], maxUserFileBytes)) ?? "";
  const {
    uid,
    gid,
    additionalGids = [],
  } = resolveUser(user, {
    passwd: await read("passwd"),
    group: await read("group"),
  });
  // crun's exec has no way to give them; the program then has fewer groups, not more.
  const groups = file.monitor === "runc" ? additionalGids : [];
  return ["--user", `${uid}:${gid}`, ...groups.flatMap((group) => ["--additional-gids", `${group}`])];
}
