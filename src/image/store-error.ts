/** Errors of the disk, in words that tell what to do. */

import { dirname } from "node:path";
import { TripodError, errnoOf } from "../spec/errors.ts";

/** A system error of writing the store, as one that tells what to do; other errors as they are. */
export function storeError(cause: unknown, path: string): unknown {
  const errno = errnoOf(cause);
  if (errno === "ENOSPC" || errno === "EDQUOT")
    return new TripodError("disk-full", `${path} could not be written: the disk is full`, {
      hint: `make room on the file system of ${dirname(path)}, e.g. tripod rmi IMAGE`,
      cause,
    });
  if (errno === "EROFS" || errno === "EACCES" || errno === "EPERM" || errno === "ENOTDIR")
    return new TripodError("state-unwritable", `${path} cannot be written: ${errno}`, {
      hint: "choose another state directory by --root DIR",
      cause,
    });
  return cause;
}
