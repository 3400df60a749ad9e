/**
 * The operator's configuration: what the TOML of `/etc/tripod/config.toml` means. Resolved once, when a sandbox is made; later verbs never read it.
 * A key that is not known is an error that names the file, the key and the nearest known one.
 *
 * ```toml
 * [policy]
 * order = ["unikernel/hvt", "unikernel/spt", "container"]  # preferred first; what is left out is forbidden
 * allow_emulation = false                                  # whether QEMU may emulate a machine unasked
 *
 * [[policy.demand]]                                        # first match wins, in any spelling of the image's name
 * image = "registry.example.org/untrusted/*"               # * matches any run of characters
 * modes = ["unikernel"]
 *
 * [monitors.qemu]                                          # hvt, spt, qemu, firecracker, cloud-hypervisor
 * path = "/opt/qemu/bin/qemu-system-x86_64"
 * default_memory = "128Mi"
 * default_vcpus = 1
 *
 * [network]
 * default = "bridge"                                       # none, bridge, or a CNI list in <lib>/networks
 * cni_plugin_dirs = ["/opt/cni/bin"]
 * nat_pool = "198.18.0.0/15"                               # addresses for guests beside other containers of a pod
 *
 * [accelerator]
 * vaccel = false                                           # whether a run may give its guest the host's vAccel agent
 *
 * [log]
 * max_size = "16Mi"                                        # then it is rotated
 * files = 3
 * ```
 */

import * as v from "valibot";
import { TripodError } from "./errors.ts";
import { ipv4Subnet } from "./ipv4.ts";
import { nearest } from "./nearest.ts";
import { type HostPath, hostPath } from "./paths.ts";
import { parseMemory } from "./units.ts";
import { type MonitorKind, type Policy, type PolicyChoice, modes, monitorKinds } from "./values.ts";

export interface MonitorConfig {
  /** Its program; default: our tender, or found in the search directories. */
  readonly path?: HostPath;
  /** Guest memory in bytes where neither the user nor the image says. */
  readonly defaultMemoryBytes?: number;
  readonly defaultVcpus?: number;
}

export interface Config {
  readonly policy: Policy;
  readonly monitors: Readonly<Partial<Record<MonitorKind, MonitorConfig>>>;
  readonly network: {
    /** Where `--network` is not given. */
    readonly default: string;
    /** Where CNI plugins are looked for; default: the usual directories. */
    readonly cniPluginDirs?: readonly HostPath[];
    /** Where guests beside other containers of a pod get a network of four addresses each; CIDR. */
    readonly natPool: string;
  };
  readonly accelerator: {
    /** Whether an annotation of a run may name a vAccel agent of the host for its guest. */
    readonly vaccel: boolean;
  };
  readonly log: { readonly maxBytes: number; readonly files: number };
}

/** The strongest isolation at hardware speed first; `microvm` waits for images that offer it. */
export const defaultOrder: readonly PolicyChoice[] = [
  "unikernel/hvt",
  "microvm",
  "unikernel/firecracker",
  "unikernel/cloud-hypervisor",
  "unikernel/qemu",
  "unikernel/spt",
  "container",
];

export const defaultPolicy: Policy = { order: defaultOrder, allowEmulation: false, demands: [] };

export const defaultConfig: Config = {
  policy: defaultPolicy,
  monitors: {},
  // RFC 2544's, which no network routes.
  network: { default: "bridge", natPool: "198.18.0.0/15" },
  accelerator: { vaccel: false },
  log: { maxBytes: 16 * 1024 * 1024, files: 3 },
};

const policyChoices: readonly PolicyChoice[] = modes.flatMap((mode): PolicyChoice[] =>
  mode === "container" ? [mode] : [mode, ...monitorKinds.map((kind) => `${mode}/${kind}` as const)],
);

/** A table of which every key is known. */
const table = <Entries extends v.ObjectEntries>(entries: Entries) =>
  v.strictObject(entries, (issue) => {
    if (issue.expected !== "never") return `must be a table, not ${issue.received}`;
    const near = nearest(String(issue.input), Object.keys(entries));
    return `is not known; the nearest known key is ${near ?? "none"}`;
  });

const word = <const Words extends readonly string[]>(words: Words) =>
  v.picklist(words, (issue) => {
    const near = typeof issue.input === "string" ? nearest(issue.input, words) : undefined;
    return `must be one of ${words.join(", ")}, not ${issue.received}${near === undefined ? "" : `; the nearest is ${near}`}`;
  });

const text = v.pipe(
  v.string("must be a string"),
  v.minLength(1, "must not be empty"),
  v.maxLength(4096, "is longer than 4096 characters"),
);
const path = v.pipe(
  text,
  v.check((value) => value.startsWith("/") && !value.includes("\0"), "must be an absolute path"),
  v.transform(hostPath),
);
const whole = (min: number, max: number) =>
  v.pipe(
    v.number("must be a number"),
    v.check(
      (value) => Number.isInteger(value) && value >= min && value <= max,
      `must be a whole number from ${min} to ${max}`,
    ),
  );
/** A size as a string with a unit, or a number of bytes. */
const memory = v.pipe(
  v.union([v.string(), v.number()], 'must be a size such as "64Mi"'),
  v.rawTransform(({ dataset, addIssue, NEVER }) => {
    try {
      return parseMemory(`${dataset.value}`, "a size");
    } catch (error) {
      addIssue({ message: `is no size: ${error instanceof Error ? error.message : String(error)}` });
      return NEVER;
    }
  }),
);

const monitor = table({
  path: v.exactOptional(path),
  default_memory: v.exactOptional(memory),
  default_vcpus: v.exactOptional(whole(1, 16)),
});

const list = <Item extends v.GenericSchema>(item: Item, max: number) =>
  v.pipe(v.array(item, "must be a list"), v.maxLength(max, `has more than ${max} entries`));

const schema = table({
  policy: v.exactOptional(
    table({
      order: v.exactOptional(v.pipe(list(word(policyChoices), 64), v.minLength(1, "must not be empty"))),
      allow_emulation: v.exactOptional(v.boolean("must be true or false")),
      demand: v.exactOptional(list(table({ image: text, modes: list(word(modes), 8) }), 10_000)),
    }),
  ),
  monitors: v.exactOptional(
    table({
      hvt: v.exactOptional(monitor),
      spt: v.exactOptional(monitor),
      qemu: v.exactOptional(monitor),
      firecracker: v.exactOptional(monitor),
      "cloud-hypervisor": v.exactOptional(monitor),
    } satisfies Record<MonitorKind, unknown>),
  ),
  network: v.exactOptional(
    table({
      default: v.exactOptional(
        v.pipe(text, v.regex(/^[a-zA-Z0-9][a-zA-Z0-9_-]{0,40}$/, "is no network name")),
      ),
      cni_plugin_dirs: v.exactOptional(list(path, 32)),
      nat_pool: v.exactOptional(
        v.pipe(
          text,
          v.check(
            (value) => (ipv4Subnet(value)?.size ?? 0) >= 4,
            "is no IPv4 subnet of at least four addresses",
          ),
        ),
      ),
    }),
  ),
  accelerator: v.exactOptional(table({ vaccel: v.exactOptional(v.boolean("must be true or false")) })),
  log: v.exactOptional(
    table({
      max_size: v.exactOptional(memory),
      files: v.exactOptional(whole(1, 100)),
    }),
  ),
});

type Table = v.InferOutput<typeof schema>;

/** Decodes parsed TOML. Throws `config-invalid` naming `file` and the first wrong key. */
export function decodeConfig(content: unknown, file: string): Config {
  const result = v.safeParse(schema, content, { abortEarly: true });
  if (result.success) return configOf(result.output);
  const [issue] = result.issues;
  const key = v.getDotPath(issue);
  throw new TripodError(
    "config-invalid",
    key === null ? `${file} ${issue.message}` : `${file}: the key ${key} ${issue.message}`,
  );
}

function configOf({ policy, monitors, network, accelerator, log }: Table): Config {
  return {
    policy: {
      order: policy?.order ?? defaultOrder,
      allowEmulation: policy?.allow_emulation ?? false,
      demands: policy?.demand ?? [],
    },
    monitors: Object.fromEntries(
      Object.entries(monitors ?? {}).map(([kind, entry]) => [kind, monitorOf(entry)]),
    ),
    network: {
      default: network?.default ?? defaultConfig.network.default,
      ...(network?.cni_plugin_dirs === undefined ? {} : { cniPluginDirs: network.cni_plugin_dirs }),
      natPool: network?.nat_pool ?? defaultConfig.network.natPool,
    },
    accelerator: { vaccel: accelerator?.vaccel ?? defaultConfig.accelerator.vaccel },
    log: {
      maxBytes: log?.max_size ?? defaultConfig.log.maxBytes,
      files: log?.files ?? defaultConfig.log.files,
    },
  };
}

const monitorOf = ({
  path: program,
  default_memory,
  default_vcpus,
}: v.InferOutput<typeof monitor>): MonitorConfig => ({
  ...(program === undefined ? {} : { path: program }),
  ...(default_memory === undefined ? {} : { defaultMemoryBytes: default_memory }),
  ...(default_vcpus === undefined ? {} : { defaultVcpus: default_vcpus }),
});
