/** An engine's bundle as it lies on disk: its configuration, its root file system, and what both say about how it runs. */

import { readFileSync, realpathSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { readUruncJson } from "../../image/image.ts";
import { type Offers, readOffers } from "../../image/offers.ts";
import { type EngineConfig, decodeEngineConfig } from "../../spec/engine-config.ts";
import { TripodError, errnoOf } from "../../spec/errors.ts";
import { ownPrefix, uruncPrefix } from "../../spec/annotations.ts";
import type { Annotations } from "../../spec/oci.ts";
import { type HostPath, hostPath } from "../../spec/paths.ts";
import type { Arch, Digest } from "../../spec/values.ts";
import { networkKey, portsKey } from "./pod.ts";

export interface Bundle {
  readonly dir: HostPath;
  readonly config: EngineConfig;
  /** The configuration as it was parsed, for another runtime. */
  readonly raw: unknown;
  /** Undefined: the bundle names none. */
  readonly rootfs: HostPath | undefined;
}

const maxConfigBytes = 16 << 20;

/** Reads a bundle. Throws `bundle-invalid`. */
export function readBundle(dir: HostPath): Bundle {
  const file = join(dir, "config.json");
  const raw = parse(readText(file), file);
  const config = decodeEngineConfig(raw, file);
  const path = config.root?.path;
  return { dir, config, raw, rootfs: path === undefined ? undefined : rootOf(resolve(dir, path)) };
}

function readText(file: string): string {
  try {
    const { size } = statSync(file);
    if (size > maxConfigBytes)
      throw new TripodError("bundle-invalid", `${file} is larger than ${maxConfigBytes} bytes`);
    return readFileSync(file, "utf8");
  } catch (error) {
    if (error instanceof TripodError) throw error;
    throw new TripodError("bundle-invalid", `${file} cannot be read: ${errnoOf(error) ?? String(error)}`, {
      cause: error,
    });
  }
}

function parse(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new TripodError("bundle-invalid", `${file} is not JSON`, { cause });
  }
}

function rootOf(path: string): HostPath {
  try {
    const real = realpathSync.native(path);
    if (statSync(real).isDirectory()) return hostPath(real);
  } catch (cause) {
    throw new TripodError(
      "bundle-invalid",
      `root.path: ${path} cannot be used: ${errnoOf(cause) ?? String(cause)}`,
      {
        cause,
      },
    );
  }
  throw new TripodError("bundle-invalid", `root.path: ${path} is not a directory`);
}

/** A bundle has no manifest of its own. */
const noManifest: Digest = `sha256:${"0".repeat(64)}`;

/** The annotations that may say how it runs. */
const spoken = (annotations: Annotations): Annotations =>
  Object.fromEntries(
    Object.entries(annotations).filter(
      ([key]) =>
        (key.startsWith(ownPrefix) || key.startsWith(uruncPrefix)) && key !== networkKey && key !== portsKey,
    ),
  );

/**
 * The way to run that a bundle offers: what its annotations say, else `/urunc.json` of its root, else a container. It is one way or none: an image that
 * is a unikernel is never run as a container for want of something.
 */
export function offersOfBundle({ dir, config, rootfs }: Bundle, arch: Arch): Offers {
  const annotations = spoken(config.annotations ?? {});
  const isSaid = annotations["dev.tripod.mode"] !== undefined;
  const uruncJson = rootfs === undefined || isSaid ? undefined : readUruncJson([rootfs], "the bundle's root");
  return readOffers(
    [
      {
        subject: `the bundle ${dir}`,
        descriptor: { mediaType: "application/vnd.oci.image.manifest.v1+json", digest: noManifest, size: 0 },
        manifest: {
          schemaVersion: 2,
          config: { mediaType: "application/vnd.oci.image.config.v1+json", digest: noManifest, size: 0 },
          layers: [],
        },
        config: { os: "linux", architecture: arch, rootfs: { type: "layers", diff_ids: [] } },
        ...(uruncJson === undefined ? {} : { uruncJson }),
      },
    ],
    annotations,
  );
}

/** The image's name, where an engine tells it, for the policy's demands. */
export function imageNameOf({ config }: Bundle): string {
  const { annotations } = config;
  for (const key of [
    "io.kubernetes.cri.image-name",
    "io.kubernetes.cri-o.ImageName",
    "org.opencontainers.image.ref.name",
  ])
    if (annotations?.[key] !== undefined) return annotations[key];
  return "";
}
