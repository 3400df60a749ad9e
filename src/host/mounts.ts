/** What is mounted where, as the kernel tells it (proc(5), `/proc/PID/mountinfo`). */

import { readFileSync } from "node:fs";
import { type HostPath, hostPath } from "../spec/paths.ts";

/** A file system that lies on a block device of its own. */
export interface DeviceMount {
  readonly device: HostPath;
  /** By Linux's name. */
  readonly fileSystem: string;
  readonly readonly: boolean;
}

/** Blank, tab, line feed and backslash are written as three octal digits. */
const unescaped = (field: string): string =>
  field.replaceAll(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));

/** The topmost mount at exactly `path`; undefined where there is none, or it is not the whole of a block device's file system. */
export function deviceMountOf(
  path: HostPath,
  table: string = readFileSync("/proc/self/mountinfo", "utf8"),
): DeviceMount | undefined {
  const line = table.split("\n").findLast((each) => unescaped(each.split(" ")[4] ?? "") === path);
  const [place = "", system = ""] = line?.split(" - ") ?? [];
  const [root, , options = ""] = place.split(" ").slice(3);
  const [fileSystem = "", source = "", data = ""] = system.split(" ");
  const device = unescaped(source);
  if (root !== "/" || !device.startsWith("/dev/")) return undefined;
  const isReadonly = [options, data].some((words) => words.split(",").includes("ro"));
  return { device: hostPath(device), fileSystem, readonly: isReadonly };
}
