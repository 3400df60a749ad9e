/**
 * What annotations, labels and `urunc.json` say about how an image runs. Two vocabularies: our own (`dev.tripod.*`) and urunc's
 * (`com.urunc.unikernel.*`), so that images made for urunc run as they are.
 *
 * Precedence, first to last: annotations given at run time, the index entry, the manifest's annotations, the config's labels, the file
 * `/urunc.json`. The first source that has a valid set wins entirely; sources are never merged (as urunc does). Our own vocabulary goes
 * before urunc's, whatever the source.
 */

import { TripodError } from "./errors.ts";
import { nearest } from "./nearest.ts";
import type { Annotations } from "./oci.ts";
import { present } from "./present.ts";
import { type HostPath, type UntrustedPath, hostPath, untrustedPath } from "./paths.ts";
import { type GuestKind, type MonitorKind, guestKinds, modes, monitorKinds } from "./values.ts";

export const ownPrefix = "dev.tripod.";
export const uruncPrefix = "com.urunc.unikernel.";

/** Our keys, each with what its value is, for the documentation. */
export const ownKeys = {
  "dev.tripod.mode": "`container` or `unikernel`",
  "dev.tripod.guest": "the guest kind: " + guestKinds.join(", "),
  "dev.tripod.monitors": "monitors that can run it, comma separated, best first: " + monitorKinds.join(", "),
  "dev.tripod.kernel": "path of the kernel in the image",
  "dev.tripod.initrd": "path of the initrd in the image",
  "dev.tripod.disk": "path of a disk image in the image",
  "dev.tripod.disk-mount-point": "where the guest mounts that disk; `/`: it is its root",
  "dev.tripod.mount-rootfs": "`true`: the image's root file system becomes the guest's, as a disk or a share",
  "dev.tripod.version": "version of the guest's own system, where its boot line differs by it",
  "dev.tripod.boot-line": "template of the guest's command line",
  "dev.tripod.min-memory": "least guest memory: bytes, or with Ki, Mi or Gi",
  "dev.tripod.net-devices": "names of the guest's network devices, comma separated",
  "dev.tripod.block-devices": "names of the guest's block devices, comma separated",
} as const satisfies Readonly<Record<string, string>>;

type OwnKey = keyof typeof ownKeys;

/** What our own keys say. */
export type OwnMetadata =
  | { readonly mode: "container" }
  | { readonly mode: "microvm" }
  | {
      readonly mode: "unikernel";
      readonly guest: GuestKind;
      readonly monitors: readonly MonitorKind[];
      readonly kernel: UntrustedPath;
      readonly initrd?: UntrustedPath;
      readonly bootLine?: string;
      readonly minMemoryBytes?: number;
      readonly netDevices?: readonly string[];
      readonly blockDevices?: readonly string[];
      readonly version?: string;
      readonly disk?: DiskImage;
      readonly mountRootfs?: true;
    };

/** A disk image in the image's root file system, and where the guest mounts it. */
export interface DiskImage {
  readonly path: UntrustedPath;
  readonly mountPoint: string;
}

const invalid = (subject: string, key: string, why: string): TripodError =>
  new TripodError("annotation-invalid", `${subject}: ${key}: ${why}`);

const quote = (value: string): string => JSON.stringify(value.slice(0, 200));

/**
 * Reads our own keys of one source. Undefined when it has none. Throws `annotation-invalid`, naming `subject`, the key and, for an unknown
 * key or value, the nearest known one.
 */
export function readOwn(source: Annotations, subject: string): OwnMetadata | undefined {
  const keys = Object.keys(source).filter((key) => key.startsWith(ownPrefix));
  if (keys.length === 0) return undefined;
  for (const key of keys)
    if (!Object.hasOwn(ownKeys, key))
      throw new TripodError("annotation-invalid", `${subject}: ${quote(key)} is not a key of ours`, {
        hint: `did you mean ${nearest(key, Object.keys(ownKeys))}?`,
      });
  const get = (key: OwnKey): string | undefined => (Object.hasOwn(source, key) ? source[key] : undefined);
  const need = (key: OwnKey): string => {
    const value = get(key);
    if (value === undefined || value === "") throw invalid(subject, key, "is missing");
    return value;
  };
  const mode = oneOf(modes, need("dev.tripod.mode"), subject, "dev.tripod.mode");
  if (mode !== "unikernel") return { mode };
  const optional = <Value>(key: OwnKey, read: (text: string) => Value): Value | undefined => {
    const value = get(key);
    return value === undefined ? undefined : read(value);
  };
  const names = (key: OwnKey) => optional(key, (text) => deviceNames(text, subject, key));
  return present({
    mode,
    guest: oneOf(guestKinds, need("dev.tripod.guest"), subject, "dev.tripod.guest"),
    monitors: list(need("dev.tripod.monitors")).map((name) =>
      oneOf(monitorKinds, name, subject, "dev.tripod.monitors"),
    ),
    kernel: imagePath(need("dev.tripod.kernel"), subject, "dev.tripod.kernel"),
    initrd: optional("dev.tripod.initrd", (text) => imagePath(text, subject, "dev.tripod.initrd")),
    disk: diskImage(get, subject, "dev.tripod.disk", "dev.tripod.disk-mount-point"),
    mountRootfs: optional("dev.tripod.mount-rootfs", (text) =>
      isTrue(text, subject, "dev.tripod.mount-rootfs") ? (true as const) : undefined,
    ),
    version: optional("dev.tripod.version", (text) => shortText(text, subject, "dev.tripod.version")),
    bootLine: get("dev.tripod.boot-line"),
    minMemoryBytes: optional("dev.tripod.min-memory", (text) => memoryBytes(text, subject)),
    netDevices: names("dev.tripod.net-devices"),
    blockDevices: names("dev.tripod.block-devices"),
  });
}

/** What urunc's keys say; names follow urunc's. Type and monitor are its spelling and may be ones we do not have. */
export interface UruncMetadata {
  readonly unikernelType: string;
  readonly hypervisor: string;
  readonly binary: UntrustedPath;
  readonly cmdline?: string;
  readonly unikernelVersion?: string;
  readonly initrd?: UntrustedPath;
  /** `block` and `blkMntPoint`, which go together. */
  readonly disk?: DiskImage;
  readonly mountRootfs: boolean;
  readonly solo5NetDev?: string;
  readonly solo5BlkDev?: string;
}

const uruncTypes: readonly string[] = ["rumprun", "unikraft", "mirage", "mewz", "linux", "hermit", "freebsd"];
const uruncHypervisors: readonly string[] = [
  "qemu",
  "firecracker",
  "hvt",
  "spt",
  "hedge",
  "cloud-hypervisor",
  "hyperlight-unikraft",
];

/** Where urunc's keys were found: `urunc.json` is written in base64, annotations and labels in either way. */
export type UruncSourceKind = "annotations" | "file";

/**
 * Reads urunc's keys of one source. Undefined unless type, hypervisor and binary are all there. Whether the values are plain or base64
 * is decided once for the whole source, by which reading makes type or hypervisor a known name: single values cannot tell, `qemu` and
 * `true` are valid base64 too. Throws `annotation-invalid` when one value does not follow the source's encoding.
 */
export function readUrunc(
  source: Annotations,
  subject: string,
  kind: UruncSourceKind,
): UruncMetadata | undefined {
  const raw = (suffix: string): string | undefined => {
    const key = uruncPrefix + suffix;
    return Object.hasOwn(source, key) ? source[key] : undefined;
  };
  const [type, hypervisor, binary] = [raw("unikernelType"), raw("hypervisor"), raw("binary")];
  if (!type || !hypervisor || !binary) return undefined;
  const encoded = isEncoded(type, hypervisor, kind);
  const read = (suffix: string): string | undefined => {
    const value = raw(suffix);
    if (value === undefined || value === "" || !encoded) return value === "" ? undefined : value;
    const decoded = decodeBase64(value);
    if (decoded === undefined)
      throw invalid(subject, uruncPrefix + suffix, `${quote(value)} is not base64, as the others are`);
    return decoded;
  };
  const path = (suffix: string): UntrustedPath | undefined => {
    const value = read(suffix);
    return value === undefined ? undefined : imagePath(value, subject, uruncPrefix + suffix);
  };
  const required = <Value>(value: Value | undefined, suffix: string): Value => {
    if (value === undefined) throw invalid(subject, uruncPrefix + suffix, "is empty");
    return value;
  };
  const device = (suffix: string): string | undefined => {
    const value = read(suffix);
    if (value !== undefined && !deviceName.test(value))
      throw invalid(subject, uruncPrefix + suffix, `${quote(value)} is no name of a device`);
    return value;
  };
  const text = (suffix: string, limit: (value: string, subject: string, key: string) => string) => {
    const value = read(suffix);
    return value === undefined ? undefined : limit(value, subject, uruncPrefix + suffix);
  };
  const mountRootfs = read("mountRootfs");
  return present({
    unikernelType: required(read("unikernelType"), "unikernelType"),
    hypervisor: required(read("hypervisor"), "hypervisor"),
    binary: required(path("binary"), "binary"),
    cmdline: text("cmdline", commandText),
    unikernelVersion: text("unikernelVersion", shortText),
    initrd: path("initrd"),
    disk: diskImage(read, subject, "block", "blkMntPoint", uruncPrefix),
    mountRootfs:
      mountRootfs === undefined
        ? // Its name before urunc 0.6, where whatever was not false was true.
          raw("useDMBlock") !== undefined && !falseWords.test(read("useDMBlock") ?? "")
        : isTrue(mountRootfs, subject, `${uruncPrefix}mountRootfs`),
    solo5NetDev: device("solo5NetDev"),
    solo5BlkDev: device("solo5BlkDev"),
  });
}

/** An accelerator of the host, reached by vsock: what urunc's `vAccel` and `RPCAddress` say. */
export interface VaccelMetadata {
  /** The vsock port that the host's agent listens on. */
  readonly port: number;
  /** Directory of the host with the agent's socket, `vaccel.sock_<port>`, for a monitor whose vsock ends in sockets; absent: the kernel's vsock. */
  readonly socketDir?: HostPath;
}

/**
 * Reads `vAccel` and `RPCAddress`. They name things of the host, so they count among annotations given at run time only. Undefined without `vAccel`. Throws
 * `annotation-invalid` for an address of another form than `vsock://2:<port>` and `unix://<directory>/vaccel.sock_<port>`.
 */
export function readVaccel(runtime: Annotations): VaccelMetadata | undefined {
  const raw = (suffix: string): string | undefined =>
    Object.hasOwn(runtime, uruncPrefix + suffix) ? runtime[uruncPrefix + suffix] : undefined;
  const subject = "runtime annotation";
  const kind = raw("vAccel");
  if (kind === undefined || kind === "") return undefined;
  const isBase64 = decodeBase64(kind) === "vsock";
  if (kind !== "vsock" && !isBase64)
    throw invalid(subject, `${uruncPrefix}vAccel`, `${quote(kind)} is not known, only vsock is`);
  const address = raw("RPCAddress") ?? "";
  const text = isBase64 ? (decodeBase64(address) ?? "") : address;
  const match = /^(?:vsock:\/\/2:|unix:\/\/(\/[A-Za-z0-9._/-]{1,90})\/vaccel\.sock_)([0-9]{1,10})$/.exec(
    text,
  );
  const port = Number(match?.[2]);
  const directory = match?.[1];
  const isClean = directory
    ?.split("/")
    .slice(1)
    .every((part) => part !== "" && part !== "." && part !== "..");
  if (match === null || isClean === false || port > 0xffff_ffff)
    throw invalid(
      subject,
      `${uruncPrefix}RPCAddress`,
      `${quote(text)} is neither vsock://2:<port> nor unix://<directory>/vaccel.sock_<port>`,
    );
  return { port, ...(directory === undefined ? {} : { socketDir: hostPath(directory) }) };
}

/** The keys that make a unikernel of urunc's, as far as they are missing beside others of them; undefined when all or none are there. */
export function missingUrunc(source: Annotations): string | undefined {
  const keys = ["unikernelType", "hypervisor", "binary"].map((suffix) => uruncPrefix + suffix);
  const missing = keys.filter((key) => !(Object.hasOwn(source, key) && source[key]));
  return missing.length === 0 || missing.length === keys.length ? undefined : missing.join(" and ");
}

function isEncoded(type: string, hypervisor: string, kind: UruncSourceKind): boolean {
  if (uruncTypes.includes(type) || uruncHypervisors.includes(hypervisor)) return false;
  const decodedType = decodeBase64(type);
  const decodedHypervisor = decodeBase64(hypervisor);
  if (decodedType !== undefined && uruncTypes.includes(decodedType)) return true;
  if (decodedHypervisor !== undefined && uruncHypervisors.includes(decodedHypervisor)) return true;
  return kind === "file";
}

/** Strict padded standard base64 of UTF-8 text; undefined when it is anything else. */
export function decodeBase64(text: string): string | undefined {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return undefined;
  const bytes = Buffer.from(text, "base64");
  if (bytes.toString("base64") !== text) return undefined;
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** The spellings of Go's ParseBool. */
const trueWords = /^(1|t|T|TRUE|true|True)$/;
const falseWords = /^(0|f|F|FALSE|false|False)$/;

function isTrue(text: string, subject: string, key: string): boolean {
  if (trueWords.test(text)) return true;
  if (text === "" || falseWords.test(text)) return false;
  throw invalid(subject, key, `${quote(text)} is neither true nor false`);
}

function oneOf<Value extends string>(
  known: readonly Value[],
  text: string,
  subject: string,
  key: string,
): Value {
  const found = known.find((value) => value === text);
  if (found !== undefined) return found;
  throw new TripodError("annotation-invalid", `${subject}: ${key}: ${quote(text)} is not known`, {
    hint: `did you mean ${nearest(text, known)}? (known: ${known.join(", ")})`,
  });
}

const list = (text: string): readonly string[] => text.split(",").map((part) => part.trim());

/** As in a Solo5 manifest. */
const deviceName = /^[A-Za-z0-9]{1,67}$/;

function deviceNames(text: string, subject: string, key: string): readonly string[] {
  if (text === "") return [];
  const names = list(text);
  for (const name of names)
    if (!deviceName.test(name))
      throw invalid(subject, key, `${quote(name)} is not a device name (1 to 67 letters and digits)`);
  if (names.length > 63) throw invalid(subject, key, "more than 63 devices");
  return names;
}

const isControl = (character: string): boolean => character < " " || character === "\u007f";
const hasControl = (text: string): boolean => [...text].some(isControl);

/**
 * A path in an image: looked up beneath its root, so blanks and the like do no harm. What can only be an attempt or a mistake is refused: `..`, the root
 * itself, control characters, a beginning that reads as an option.
 */
function imagePath(text: string, subject: string, key: string): UntrustedPath {
  if (text === "" || Buffer.byteLength(text) > maxPathBytes || hasControl(text))
    throw invalid(subject, key, "is not a path (1 to 4096 bytes, no NUL and no other control character)");
  const parts = text.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.length === 0 || parts.includes("..") || text.startsWith("-"))
    throw invalid(subject, key, `${quote(text)} is not a path of a file beneath the image's root`);
  return untrustedPath(text);
}

const maxPathBytes = 4096;
/** More than any guest's boot line holds. */
const maxCommandBytes = 65_536;
const maxShortBytes = 256;

function commandText(text: string, subject: string, key: string): string {
  if (text.includes("\0") || Buffer.byteLength(text) > maxCommandBytes)
    throw invalid(subject, key, `is longer than ${maxCommandBytes} bytes or has a NUL`);
  return text;
}

function shortText(text: string, subject: string, key: string): string {
  if (Buffer.byteLength(text) > maxShortBytes || hasControl(text))
    throw invalid(subject, key, `is longer than ${maxShortBytes} bytes or has a control character`);
  return text;
}

/** A disk and its mount point, of which neither is of use alone. `prefix` completes the keys' names. */
function diskImage<Key extends string>(
  read: (key: Key) => string | undefined,
  subject: string,
  pathKey: Key,
  mountKey: Key,
  prefix = "",
): DiskImage | undefined {
  const path = read(pathKey);
  const mountPoint = read(mountKey);
  if (path === undefined) {
    if (mountPoint !== undefined && prefix === "")
      throw invalid(subject, mountKey, `is of no use without ${pathKey}`);
    return undefined;
  }
  if (mountPoint === undefined || mountPoint === "")
    throw invalid(subject, prefix + pathKey, `needs ${prefix}${mountKey}, which is missing`);
  return {
    path: imagePath(path, subject, prefix + pathKey),
    mountPoint: mountPoint === "/" ? "/" : `/${cleanPath(imagePath(mountPoint, subject, prefix + mountKey))}`,
  };
}

const cleanPath = (path: string): string =>
  path
    .split("/")
    .filter((part) => part !== "" && part !== ".")
    .join("/");

const units: Readonly<Record<string, number>> = { "": 1, Ki: 1024, Mi: 1024 ** 2, Gi: 1024 ** 3 };

function memoryBytes(text: string, subject: string): number {
  const match = /^([0-9]{1,15})(|Ki|Mi|Gi)$/.exec(text);
  const bytes = Number(match?.[1]) * (units[match?.[2] ?? ""] ?? Number.NaN);
  if (!Number.isSafeInteger(bytes) || bytes === 0)
    throw invalid(subject, "dev.tripod.min-memory", `${quote(text)} is not an amount such as 4Mi`);
  return bytes;
}
