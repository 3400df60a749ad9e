/** exec: a second program in a container, by its own OCI runtime. A unikernel has one program: refused at once. */

import { spawn } from "node:child_process";
import { join } from "node:path";
import { TripodError } from "../spec/errors.ts";
import type { Context } from "./context.ts";
import type { SandboxView } from "./store.ts";
import { constants } from "node:os";
import { readContainerFile } from "../host/container-files.ts";
import { resolveUser } from "../spec/users.ts";
import { ociRuntimePath } from "./oci-runtime.ts";

export interface ExecRequest {
  readonly argv: readonly string[];
  readonly env: readonly string[];
  readonly tty: boolean;
  readonly interactive: boolean;
  readonly user?: string;
  readonly cwd?: string;
}

const ignore = (): void => {};

/**
 * Runs a program in the sandbox with our own standard streams; returns its exit status (128 + signal when killed). Throws `exec-refused` where the mode has
 * no second program and `sandbox-busy` when the sandbox does not run.
 */
export async function execInSandbox(
  context: Context,
  view: SandboxView,
  request: ExecRequest,
): Promise<number> {
  const { file } = view;
  if (file.mode !== "container")
    throw new TripodError(
      "exec-refused",
      `${file.name} is a ${file.mode}: it holds one program and no way to start a second`,
      {
        hint: `tripod logs ${file.name}, or run the image with --mode container`,
      },
    );
  if (view.status !== "running")
    throw new TripodError("sandbox-busy", `${file.name} is ${view.status}, not running`, {
      hint: `tripod logs ${file.name} shows what it said; tripod run starts another`,
    });
  const runtime = await ociRuntimePath(context, file.monitor);
  const argv = ["--root", join(view.dir, "oci"), "exec"];
  if (request.tty) argv.push("--tty");
  for (const entry of request.env) argv.push("--env", entry);
  if (request.user !== undefined) argv.push(...(await userArguments(view, request.user)));
  if (request.cwd !== undefined) argv.push("--cwd", request.cwd);
  argv.push(file.id, ...request.argv);
  const child = spawn(runtime, argv, {
    stdio: [request.interactive ? "inherit" : "ignore", "inherit", "inherit"],
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
  });
  // The terminal's signals reach the runtime by themselves: it shares our process group.
  process.on("SIGINT", ignore);
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once("error", (cause) =>
        reject(new TripodError("monitor-missing", `${runtime} could not be started`, { cause })),
      );
      child.once("close", (code, signal) =>
        resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])),
      );
    });
  } finally {
    process.off("SIGINT", ignore);
  }
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
