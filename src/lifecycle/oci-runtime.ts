/** Where the OCI runtime that made a sandbox is now. */

import { access, constants } from "node:fs/promises";
import { TripodError } from "../spec/errors.ts";
import { type HostPath, hostPath } from "../spec/paths.ts";
import type { MonitorKind, OciRuntimeKind } from "../spec/values.ts";
import type { Context } from "./context.ts";

/** The same directories as the warden's, so that both speak of one program. */
const dirs = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/bin", "/sbin"];

/** The path of runc or crun. Throws `monitor-missing`. */
export async function ociRuntimePath(
  _context: Context,
  kind: MonitorKind | OciRuntimeKind,
): Promise<HostPath> {
  for (const dir of dirs) {
    const path = `${dir}/${kind}`;
    const found = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return hostPath(path);
  }
  throw new TripodError("monitor-missing", `${kind} is no longer in ${dirs.join(", ")}`, {
    hint: `apt-get install ${kind}`,
  });
}
