/**
 * The ways to run that an image offers. An ordinary `linux/<arch>` manifest is a container, unless its metadata makes it a unikernel; entries
 * whose `os` is a monitor's token are unikernels; attestations and `unknown/unknown` entries are for others. Metadata and its precedence:
 * `spec/annotations.ts`. What is not an offer is told with its reason, so that `explain` can say why.
 */

import { guestDriver } from "../guest/index.ts";
import { type UruncMetadata, readOwn, missingUrunc, readUrunc, readVaccel } from "../spec/annotations.ts";
import {
  type Annotations,
  type Descriptor,
  type ImageConfig,
  type ImageManifest,
  layerCompression,
  normalArch,
} from "../spec/oci.ts";
import { untrustedPath } from "../spec/paths.ts";
import { present } from "../spec/present.ts";
import {
  type Arch,
  type Digest,
  type MonitorKind,
  type Offer,
  guestKinds,
  monitorKinds,
} from "../spec/values.ts";

/** One manifest of an image, with all that may say how it runs. */
export interface OfferSource {
  /** The index entry, or the manifest's own descriptor where there is no index. */
  readonly descriptor: Descriptor;
  readonly manifest: ImageManifest;
  readonly config: ImageConfig;
  /** Whose metadata it is, for messages; default: the manifest's digest. */
  readonly subject?: string;
  /** `/urunc.json` of the root file system, undecoded. */
  readonly uruncJson?: Annotations;
}

/** A manifest that offers nothing here, and why. */
export interface Ignored {
  readonly manifest: Digest;
  readonly platform: string;
  readonly because: string;
}

export interface Offers {
  /** In the order of the index. */
  readonly offers: readonly Offer[];
  readonly ignored: readonly Ignored[];
}

/**
 * Reads the offers. `runtime`: annotations given at run time, which go before all that the image says. Throws `annotation-invalid` for
 * an unknown or malformed key of ours.
 */
export function readOffers(sources: readonly OfferSource[], runtime: Annotations = {}): Offers {
  const offers: Offer[] = [];
  const ignored: Ignored[] = [];
  for (const source of sources) {
    const result = readOffer(source, runtime);
    if (typeof result !== "string") offers.push(result);
    else
      ignored.push({
        manifest: source.descriptor.digest,
        platform: platformText(source.descriptor, source.config),
        because: result,
      });
  }
  return { offers, ignored };
}

/** `os/architecture`, as the index or else the config says. */
export function platformText(descriptor: Descriptor, config: ImageConfig | undefined): string {
  const { os, architecture, variant } = descriptor.platform ??
    config ?? { os: "unknown", architecture: "unknown" };
  return [os || "unknown", architecture || "unknown", ...(variant === undefined ? [] : [variant])].join("/");
}

/** Whether an index entry is somebody's note about other entries (an attestation, a boot sidecar) rather than something to run. */
export const isNote = (descriptor: Descriptor): boolean =>
  descriptor.annotations?.["vnd.docker.reference.type"] !== undefined ||
  descriptor.platform?.os === "unknown" ||
  descriptor.platform?.architecture === "unknown";

/** Monitors by the `os` of an index entry; kraft's and Solo5's spellings. */
const osTokens: Readonly<Record<string, MonitorKind>> = {
  hvt: "hvt",
  spt: "spt",
  qemu: "qemu",
  kvm: "qemu",
  fc: "firecracker",
  firecracker: "firecracker",
  clh: "cloud-hypervisor",
  "cloud-hypervisor": "cloud-hypervisor",
};

/** The monitor that an `os` token stands for. */
export const monitorOfToken = (os: string): MonitorKind | undefined =>
  Object.hasOwn(osTokens, os) ? osTokens[os] : undefined;

function readOffer(source: OfferSource, runtime: Annotations): Offer | string {
  const { descriptor, manifest, config } = source;
  if (isNote(descriptor)) return "a note about other entries, not an image to run";
  if (
    manifest.layers.length > 0 &&
    !manifest.layers.some((layer) => layerCompression(layer.mediaType) !== undefined)
  )
    return "none of its layers is a file system";
  const { os, architecture } = descriptor.platform ?? config;
  const arch = normalArch(architecture);
  if (arch === undefined) return `the architecture ${JSON.stringify(architecture)} is not known`;
  const base = { arch, manifest: descriptor.digest };
  const places = metadataPlaces(source, runtime);

  for (const { annotations, name } of places) {
    const own = readOwn(annotations, `${name} of ${source.subject ?? descriptor.digest}`);
    if (own === undefined) continue;
    if (own.mode === "container") return { mode: "container", ...base };
    if (own.mode === "microvm") return "it asks for microVM mode, which this version does not have";
    return withRuntime({ ...base, ...own }, runtime);
  }
  for (const { annotations, name, kind } of places) {
    const urunc = readUrunc(annotations, `${name} of ${source.subject ?? descriptor.digest}`, kind);
    if (urunc === undefined) continue;
    const offer = uruncOffer(base, urunc);
    return typeof offer === "string" ? offer : withRuntime(offer, runtime);
  }
  // Never a container for want of a word: whoever wrote some of it meant a unikernel.
  for (const { annotations, name } of places) {
    const missing = missingUrunc(annotations);
    if (missing !== undefined) return `urunc's metadata in its ${name} lacks ${missing}`;
  }
  return kraftOffer(base, source, os) ?? plainOffer(base, os);
}

interface MetadataPlace {
  readonly name: string;
  readonly annotations: Annotations;
  readonly kind: "annotations" | "file";
}

const annotationsAt = (name: string, annotations: Annotations | undefined): MetadataPlace => ({
  name,
  annotations: annotations ?? {},
  kind: "annotations",
});

/** Where metadata may lie, in the order of precedence. */
function metadataPlaces(source: OfferSource, runtime: Annotations): readonly MetadataPlace[] {
  return [
    annotationsAt("runtime annotation", runtime),
    annotationsAt("index entry", source.descriptor.annotations),
    annotationsAt("manifest", source.manifest.annotations),
    annotationsAt("config labels", source.config.config?.Labels),
    { name: "urunc.json", annotations: source.uruncJson ?? {}, kind: "file" },
  ];
}

interface Base {
  readonly arch: Arch;
  readonly manifest: Digest;
}

type UnikernelOffer = Extract<Offer, { mode: "unikernel" }>;

/** What a guest of its kind needs at least, and what only an annotation of the run can ask for. */
function withRuntime(offer: UnikernelOffer, runtime: Annotations): UnikernelOffer {
  const needed = guestDriver(offer.guest)?.minMemoryBytes ?? 0;
  const minMemoryBytes = Math.max(offer.minMemoryBytes ?? 0, needed);
  return {
    ...offer,
    ...present({
      minMemoryBytes: minMemoryBytes === 0 ? undefined : minMemoryBytes,
      vaccel: readVaccel(runtime),
    }),
  };
}

const shown = (text: string): string => JSON.stringify(text.slice(0, 80));

function uruncOffer(base: Base, urunc: UruncMetadata): UnikernelOffer | string {
  const guest = guestKinds.find((kind) => kind === urunc.unikernelType);
  if (guest === undefined) return `the unikernel type ${shown(urunc.unikernelType)} is not known`;
  const monitor = monitorKinds.find((kind) => kind === urunc.hypervisor);
  if (monitor === undefined) return `the monitor ${shown(urunc.hypervisor)} is not known`;
  const args = urunc.cmdline?.split(/\s+/).filter((word) => word !== "");
  return present({
    mode: "unikernel",
    ...base,
    guest,
    monitors: [monitor],
    kernel: urunc.binary,
    initrd: urunc.initrd,
    args: args?.length === 0 ? undefined : args,
    netDevices: urunc.solo5NetDev === undefined ? undefined : [urunc.solo5NetDev],
    blockDevices: urunc.solo5BlkDev === undefined ? undefined : [urunc.solo5BlkDev],
    version: urunc.unikernelVersion,
    disk: urunc.disk,
    mountRootfs: urunc.mountRootfs ? (true as const) : undefined,
  });
}

const kraftKernelKey = "org.unikraft.kernel.image";
const kraftInitrdKey = "org.unikraft.kernel.initrd";

/** Images of kraft: the monitor is the `os`, kernel and initrd are named on their layers, with a fixed path as fallback. */
function kraftOffer(base: Base, source: OfferSource, os: string): Offer | string | undefined {
  const { descriptor, manifest } = source;
  const isKraft = [descriptor.annotations, manifest.annotations].some(
    (place) => place?.["sh.kraftkit.version"] !== undefined,
  );
  const named = (key: string): string | undefined =>
    manifest.layers.map((layer) => layer.annotations?.[key]).find((path) => path !== undefined);
  const kernel = named(kraftKernelKey) ?? (isKraft ? "/unikraft/bin/kernel" : undefined);
  if (kernel === undefined) return undefined;
  const monitor = monitorOfToken(os);
  if (monitor === undefined) return `the platform ${JSON.stringify(os)} of kraft is not supported`;
  const initrd = named(kraftInitrdKey);
  return present({
    mode: "unikernel",
    ...base,
    guest: "unikraft",
    monitors: [monitor],
    kernel: untrustedPath(kernel),
    initrd: initrd === undefined ? undefined : untrustedPath(initrd),
  });
}

function plainOffer(base: Base, os: string): Offer | string {
  // Old and minimal images leave the os out; every reader takes that for linux.
  if (os === "linux" || os === "") return { mode: "container", ...base };
  return monitorOfToken(os) === undefined
    ? `the operating system ${JSON.stringify(os)} does not run here`
    : `nothing says where its kernel is: no dev.tripod.*, com.urunc.unikernel.* or kraft annotation`;
}
