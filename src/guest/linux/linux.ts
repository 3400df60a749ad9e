/**
 * Linux with a root of the image, as urunc builds such images. The kernel sets the network up by `ip=`; the first process is the image's own, urunit, or
 * ours where the image brings none and its root can be added to. urunit and ours read variables, user, working directory and mounts from a
 * configuration; any other first process has its variables from the kernel's command line.
 */

import { TripodError } from "../../spec/errors.ts";
import { formatHosts, formatResolvConf } from "../../spec/resolv.ts";
import {
  type GuestFile,
  type InitrdPart,
  type MonitorKind,
  type Share,
  isReadonlyTree,
} from "../../spec/values.ts";
import { netmask4 } from "../boot-line.ts";
import { bootLineOf, checkCarried } from "../carries.ts";
import type { GuestDriver, GuestInput } from "../guest.ts";
import { isInSubnet, linksOf, servers4 } from "../network.ts";
import { nicsOf } from "../nics.ts";
import { argumentName, unsayable, variableName } from "../words.ts";
import { type Member, archive } from "./cpio.ts";
import { kernelWord } from "./line.ts";
import { urunitConfig } from "./urunit.ts";

const shareTag = "fs0";
/** Where a first process mounts the kernel's own file systems; an image for containers need not have them. */
const mountPoints = ["/proc", "/sys", "/dev"];
/** Where our first process lies. */
const ownInit = "/.tripod/init";
const configFile = "urunit.conf";
/** The kernel (6.8 and later) shows the initrd that it was given here, when it is told to keep it. */
const rawInitrd = "/sys/firmware/initrd";
/** CONFIG_INIT_ENV_ARG_LIMIT's default; the kernel panics on more. The program is one of the arguments, HOME and TERM are two of the variables. */
const maxInitArgs = 31;
const maxInitEnv = 30;
/** Monitors whose disks have no serial number that could be chosen: urunit then counts them from the second on. */
const monitorsWithoutSerials: readonly MonitorKind[] = ["firecracker"];

export const linux: GuestDriver = {
  kind: "linux",
  arches: ["amd64", "arm64"],
  roots: ["initrd", "disk", "virtiofs", "9p", "none"],
  fileSystems: ["ext4", "ext3", "ext2"],
  carries: { args: true, env: true, ipv6: false, dns: true, nics: 1, disks: 8, user: true, files: true },
  usualMemoryBytes: 256 * 1024 * 1024,
  maxBootLineBytes: 2047 - 8 * 48,
  boot: (input) => {
    checkCarried(linux, input);
    const { root, net } = input;
    const start = startOf(input);
    return {
      kernel: input.kernel,
      initrd: initrdOf(input, start),
      bootLine: bootLineOf(linux, input, () => words(input, start)),
      disks: [
        ...(root.kind === "disk" ? [root.disk] : []),
        ...input.mounts.map(({ disk }) => disk),
        ...input.disks,
      ],
      nics: nicsOf(
        linksOf(net).map(({ name }) => name),
        net,
      ),
      shares: sharesOf(input),
      ...(isOwnTree(input) ? { rootDirectories: mountPoints, rootFiles: filesOf(input, start) } : {}),
    };
  },
};

/** How the workload comes to run. */
interface Start {
  /** The first process, and what follows it. */
  readonly program: string;
  readonly args: readonly string[];
  /** The first process that reads a configuration, with that; none: the image's own, which has everything from the kernel. */
  readonly by: "urunit" | "ours" | "image";
  readonly config?: string;
}

/** First processes of images by their names; whatever else an image starts is a program that wants one. */
const initNames = /^(init|linuxrc|systemd|urunit.*|tini.*|dumb-init|s6-svscan|runit|openrc-init)$/;

function startOf(input: GuestInput): Start {
  const { args, root, init, mounts } = input;
  const [program, ...rest] = args;
  if (program === undefined || program === "")
    throw new TripodError("usage", "the image names no program to run, and none was given", {
      hint: "tripod run IMAGE PROGRAM",
    });
  if (program.includes("urunit"))
    return { program, args: rest.map(checkForUrunit), by: "urunit", config: configOf(input) };
  const isInit = initNames.test(program.slice(program.lastIndexOf("/") + 1));
  if (init !== undefined && (root.kind === "initrd" || isOwnTree(input)) && !isInit)
    return { program: ownInit, args, by: "ours", config: configOf(input) };
  if (mounts.length > 0)
    throw new TripodError("no-fit", `${program} is no first process that mounts disks`, {
      hint: "build the image with urunit as its first program",
    });
  return { program, args: rest, by: "image" };
}

/** urunit joins words from one that begins with a quote to one that ends with it, and takes the quotes away. */
function checkForUrunit(arg: string, index: number): string {
  const [quote] = arg;
  const isWhole = arg.length > 1 && arg.endsWith(quote ?? "");
  if ((quote === "'" || quote === '"') && !isWhole)
    throw unsayable(
      argumentName(index),
      `begins with ${quote}, which urunit takes for the beginning of several words`,
    );
  return arg;
}

function configOf({ env, user, cwd, mounts, root, monitor }: GuestInput): string {
  const isCounted = monitorsWithoutSerials.includes(monitor);
  if (isCounted && mounts.length > 0 && root.kind !== "disk")
    throw new TripodError("no-fit", `by ${monitor}, disks are mounted only beside a root that is a disk too`);
  return urunitConfig({
    env,
    user,
    cwd,
    mounts: mounts.map(({ disk, at }) => ({ id: isCounted ? `FC${disk.name}`.slice(0, 9) : disk.name, at })),
  });
}

const isOwnTree = ({ root, ownsTree }: GuestInput): boolean =>
  ownsTree && (root.kind === "9p" || root.kind === "virtiofs");

/** What is added to the image's root. */
function filesOf(input: GuestInput, { by, config }: Start): readonly GuestFile[] {
  const { init } = input;
  return [
    ...etcOf(input),
    ...(by === "ours" && init !== undefined ? [{ at: ownInit, mode: 0o755, content: init }] : []),
    ...(config === undefined
      ? []
      : [
          {
            at: `/${configFile}`,
            mode: 0o400,
            content: Buffer.from(config).toString("base64"),
            secret: true as const,
          },
        ]),
  ];
}

function initrdOf(input: GuestInput, start: Start): readonly InitrdPart[] {
  const { root } = input;
  const { config } = start;
  if (root.kind !== "initrd")
    return config === undefined || isOwnTree(input)
      ? []
      : [{ content: Buffer.from(config).toString("base64") }];
  const members: Member[] = filesOf(input, start).map(memberOf);
  const image = { path: root.path };
  // Later members replace earlier ones of their name. They follow the directories that they lie in, which an image may have left out.
  return members.length === 0 ? [image] : [image, ...archive(withDirectories(members))];
}

const memberOf = ({ at, mode, content }: GuestFile): Member => ({
  name: at.replace(/^\/+/, ""),
  mode,
  content: typeof content === "string" ? Buffer.from(content, "base64") : content,
});

function withDirectories(members: readonly Member[]): readonly Member[] {
  const made = new Set<string>();
  return members.flatMap((member) => {
    const parts = member.name.split("/").slice(0, -1);
    const above = parts.map((_, index) => parts.slice(0, index + 1).join("/"));
    const missing = above.filter((name) => !made.has(name));
    for (const name of missing) made.add(name);
    return [...missing.map((name) => ({ name, mode: 0o755 })), member];
  });
}

const file = (at: string, text: string): GuestFile => ({
  at,
  mode: 0o644,
  content: Buffer.from(text).toString("base64"),
});

/** Name resolution, as a container has it; what was given for the same place goes before it. */
function etcOf({ net, hostname, files }: GuestInput): readonly GuestFile[] {
  const given = files ?? [];
  const addresses = linksOf(net).flatMap(({ v4 }) => (v4 === undefined ? [] : [v4.address]));
  const resolv = formatResolvConf({ options: [], ...(net?.dns ?? { servers: [], search: [] }) });
  const made =
    addresses.length === 0
      ? []
      : [
          ...(resolv === "" ? [] : [file("/etc/resolv.conf", resolv)]),
          file("/etc/hosts", formatHosts(hostname, addresses)),
          file("/etc/hostname", `${hostname}\n`),
        ];
  return [...made.filter(({ at }) => given.every((other) => other.at !== at)), ...given];
}

function sharesOf({ root }: GuestInput): readonly Share[] {
  return root.kind === "9p" || root.kind === "virtiofs" ? [{ ...root, tag: shareTag }] : [];
}

/**
 * How our first process ends the machine: where QEMU has a port for it the status goes there, and Cloud Hypervisor starts a machine that resets anew, so it
 * is powered off.
 */
const endWords = ({ monitor, offer }: GuestInput): readonly string[] => [
  "TRIPOD_WORDS=verbatim",
  ...(monitor === "qemu" && offer.arch === "amd64" ? ["TRIPOD_EXIT_PORT=0x501"] : []),
  ...(monitor === "cloud-hypervisor" ? ["TRIPOD_POWEROFF=1"] : []),
];

function words(input: GuestInput, start: Start): readonly string[] {
  const { root, env, net } = input;
  const [link] = linksOf(net);
  const init = root.kind === "initrd" ? "rdinit" : "init";
  if (start.args.length > maxInitArgs)
    throw unsayable(
      `a command of ${start.args.length} arguments`,
      `is more than Linux takes, ${maxInitArgs}`,
    );
  return [
    "panic=-1",
    `console=${consoleOf(input)}`,
    ...rootWords(input),
    ...ipWords(input),
    ...(start.by === "image" ? variables(env) : configWords(input)),
    ...(start.by === "ours" ? endWords(input) : []),
    ...(link?.v4 !== undefined && !isInSubnet(link.v4) ? ["URUNIT_DEFROUTE=1"] : []),
    kernelWord(`${init}=${start.program}`, "the program"),
    ...(start.args.length === 0 ? [] : ["--"]),
    ...start.args.map((arg, index) => kernelWord(arg, argumentName(index))),
  ];
}

/** The serial line: a PL011 on arm64's QEMU and Cloud Hypervisor, a 16550 everywhere else. */
const consoleOf = ({ offer, monitor }: GuestInput): string =>
  offer.arch === "arm64" && monitor !== "firecracker" ? "ttyAMA0" : "ttyS0";

const configWords = (input: GuestInput): readonly string[] =>
  input.root.kind === "initrd" || isOwnTree(input)
    ? [`URUNIT_CONFIG=/${configFile}`]
    : ["retain_initrd", `URUNIT_CONFIG=${rawInitrd}`];

const p9Options = "trans=virtio,version=9p2000.L,msize=5000000,cache=mmap,posixacl";

const access = (readonly: boolean): string => (readonly ? "ro" : "rw");

function rootWords({ root }: GuestInput): readonly string[] {
  switch (root.kind) {
    case "none":
      return [];
    case "initrd":
      return ["root=/dev/ram0", "rw"];
    case "disk":
      return ["root=/dev/vda", access(root.disk.readonly)];
    case "9p":
      return [`root=${shareTag}`, access(isReadonlyTree(root)), "rootfstype=9p", `rootflags=${p9Options}`];
    case "virtiofs":
      return [`root=${shareTag}`, access(isReadonlyTree(root)), "rootfstype=virtiofs"];
  }
}

/** `ip=client:server:gateway:netmask:hostname:device:autoconf:dns0:dns1`; the name servers also stand in the guest's /proc/net/pnp. */
function ipWords({ net, hostname }: GuestInput): readonly string[] {
  const [link] = linksOf(net);
  const v4 = link?.v4;
  if (v4 === undefined) return [];
  if (!/^[A-Za-z0-9._-]+$/.test(hostname))
    throw unsayable("the host name", `${JSON.stringify(hostname)} cannot stand in Linux's ip=`);
  // Of a gateway outside of its subnet the kernel makes no route at all; the first process then makes one by URUNIT_DEFROUTE.
  const gateway = isInSubnet(v4) ? (v4.gateway ?? "") : "";
  const fields = [
    v4.address,
    "",
    gateway,
    netmask4(v4.prefix),
    hostname,
    "eth0",
    "off",
    ...servers4(net).slice(0, 2),
  ];
  return [`ip=${fields.join(":")}`];
}

/** Parameters of the kernel that a variable of their name would set instead of reaching the program. */
const kernelNames =
  /^(console|debug|hostname|init|initrd|ip|loglevel|mem|nfsroot|panic|quiet|rdinit|resume|retain_initrd|ro|root|rootdelay|rootflags|rootfstype|rootwait|rw|single)$/;

/** The kernel hands words with `=` that it does not know on, unless there is a dot in their name: those it keeps for its modules. */
function variables(env: readonly string[]): readonly string[] {
  // These two it sets by itself, and replaces them by ours.
  const added = env.filter((entry) => !/^(HOME|TERM)=/.test(entry));
  if (added.length > maxInitEnv)
    throw unsayable(`an environment of ${env.length} variables`, `is more than Linux takes, ${maxInitEnv}`);
  return env.map((entry) => {
    const what = variableName(entry);
    const name = entry.slice(0, entry.indexOf("="));
    if (!/^[A-Za-z_][A-Za-z0-9_-]*$/.test(name) || kernelNames.test(name.replaceAll("-", "_")))
      throw unsayable(what, "has a name that Linux's command line does not hand on to a program");
    return kernelWord(entry, what);
  });
}
