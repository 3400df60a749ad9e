/** The flags of `run` that have a form of their own: ports, volumes, labels, the host name. */

import { realpathSync } from "node:fs";
import { isIP } from "node:net";
import { resolve } from "node:path";
import { TripodError } from "../spec/errors.ts";
import { hostPath, sandboxPath } from "../spec/paths.ts";
import type { PortMapping } from "../spec/plan.ts";
import type { RunRequest } from "../lifecycle/request.ts";

/** `[IP:]HOST:GUEST[/PROTOCOL]`, or `GUEST` for any free host port; an IPv6 address stands in brackets. Throws `usage`. */
export function parsePorts(given: readonly string[]): PortMapping[] {
  return given.map((text) => {
    const match = /^(?:(?:\[([^\]]+)\]|(\d+(?:\.\d+){3})):)?(?:(\d{0,5}):)?(\d{1,5})(?:\/(tcp|udp))?$/.exec(
      text,
    );
    const hostIp = match?.[1] ?? match?.[2];
    const hostPort = Number(match?.[3] ?? 0);
    const guestPort = Number(match?.[4] ?? 0);
    if (
      match === null ||
      hostPort > 65_535 ||
      guestPort < 1 ||
      guestPort > 65_535 ||
      (hostIp !== undefined && isIP(hostIp) === 0)
    )
      throw new TripodError("usage", `--publish: ${JSON.stringify(text.slice(0, 80))} is no port mapping`, {
        hint: "-p 8080:80, -p 127.0.0.1:8080:80/tcp, or -p 80 for any free port",
      });
    return {
      ...(hostIp === undefined ? {} : { hostIp }),
      hostPort,
      guestPort,
      protocol: match[5] === "udp" ? "udp" : "tcp",
    };
  });
}

/** `SOURCE:TARGET[:ro]`; a relative source is taken from the working directory. Throws `usage` when the source is not there. */
export function parseVolumes(given: readonly string[]): RunRequest["volumes"] {
  return given.map((text) => {
    const [source = "", target = "", option, ...rest] = text.split(":");
    if (
      source === "" ||
      !target.startsWith("/") ||
      rest.length > 0 ||
      !(option === undefined || option === "ro" || option === "rw")
    )
      throw new TripodError(
        "usage",
        `--volume: ${JSON.stringify(text.slice(0, 200))} is no SOURCE:TARGET[:ro]`,
        {
          hint: "-v /data:/data:ro",
        },
      );
    let found: string;
    try {
      found = realpathSync(resolve(source));
    } catch (cause) {
      throw new TripodError("usage", `--volume: ${resolve(source)} is not there`, {
        cause,
        hint: `mkdir -p ${resolve(source)}`,
      });
    }
    return { source: hostPath(found), target: cleanTarget(target), readonly: option === "ro" };
  });
}

function cleanTarget(target: string) {
  const clean = `/${target
    .split("/")
    .filter((part) => part !== "")
    .join("/")}`;
  try {
    return sandboxPath(clean);
  } catch (cause) {
    throw new TripodError(
      "usage",
      `--volume: ${JSON.stringify(target.slice(0, 200))} is no clean absolute path`,
      { cause },
    );
  }
}

/** `KEY=VALUE` or `KEY`. Throws `usage`. */
export function parseLabels(given: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    given.map((text) => {
      const at = text.indexOf("=");
      const key = at < 0 ? text : text.slice(0, at);
      if (key === "")
        throw new TripodError("usage", `--label: ${JSON.stringify(text.slice(0, 80))} has no key`);
      return [key, at < 0 ? "" : text.slice(at + 1)];
    }),
  );
}

/** Bytes that Linux takes as a host name (`HOST_NAME_MAX`). */
const maxHostnameBytes = 64;

const isLabel = (label: string): boolean => /^[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$/.test(label);

/** Labels of letters, digits and hyphens (RFC 1123), of at most 63 each; it is written into files of the sandbox. Throws `usage`. */
export function parseHostname(text: string): string {
  if (text.length <= maxHostnameBytes && text.split(".").every(isLabel)) return text;
  throw new TripodError("usage", `--hostname: ${JSON.stringify(text.slice(0, 80))} is no host name`, {
    hint: `letters, digits, hyphens and dots, at most ${maxHostnameBytes}: --hostname web-1`,
  });
}
