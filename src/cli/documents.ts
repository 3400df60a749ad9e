/** What `-o json` and `-o yaml` hold: the fields of each document, for docs/cli.md. The tests hold them against what is printed. */

export interface DocumentRecord {
  /** Where it is printed. */
  readonly of: string;
  readonly fields: Readonly<Record<string, string>>;
}

/** Times are RFC 3339 strings, sizes whole bytes, what is not there is null. */
export const documents = {
  sandbox: {
    of: "`inspect` of a sandbox (one object for one name, an array for several) and `ps` (an array)",
    fields: {
      schema: '`"tripod.sandbox/1"`',
      id: "32 hexadecimal digits",
      name: "given or made up",
      namespace: "`default` for the command line's own",
      image: "the reference",
      manifest: "digest of the image manifest that runs",
      mode: "`container`, `unikernel`",
      monitor: "the monitor's or the OCI runtime's name",
      reason: "why this mode and monitor",
      status:
        "`creating`, `created`, `running`, `paused`, `stopped`, or `dead`: ended without cleaning up, wants `rm -f`",
      pid: "first process on the host; 0 when there is none",
      address: "IPv4 address without a port or prefix, or null",
      network: "`none`, `bridge` or another network's name",
      ports: "published ports: `hostIp` (absent: all), `hostPort`, `guestPort`, `protocol`",
      command: "the workload's arguments",
      memoryBytes: "of the guest, or the container's limit",
      vcpus: "processors",
      labels: "an object",
      terminal: "whether it has one",
      removeOnExit: "whether it goes when it ends",
      createdAt: "time",
      startedAt: "time or null",
      exit: "`exitCode`, `signal` (if one ended it), `oomKilled`, `finishedAt`; null while it runs",
      stateDir: "its directory on the host",
    },
  },
  image: {
    of: "`inspect` of an image and `images` (an array)",
    fields: {
      schema: '`"tripod.image/1"`',
      reference: "as short as it can be",
      name: "in full",
      digest: "of the index or manifest",
      mediaType: "of the same",
      sizeBytes: "all that is in the store, shared layers once",
      manifests:
        "each with `digest`, `platform`, `stored` (false: left out by the pull), `sizeBytes`, `created`, `annotations`, `config`, `layers`",
      problem: "null, or in `images` why a damaged image cannot be used; `manifests` is empty then",
    },
  },
  explain: {
    of: "`explain`",
    fields: {
      schema: '`"tripod.explain/1"`',
      image: "the reference",
      digest: "of the index or manifest",
      chosen: "the chosen row, or null",
      sentence: "which and why",
      rows: "every offer by every monitor: `chosen`, `mode`, `guest`, `arch`, `by`, `fits`, `place` (1 is first), `speed`, `why`, `remedy`, `manifest`",
      ignored: "parts of the image that are no offer: `manifest`, `platform`, `because`",
    },
  },
  check: {
    of: "`check` (an array)",
    fields: {
      id: "`kvm`, `tun`, `cgroups`, `runc`, …",
      title: "for people",
      verdict: "`ok`, `warn` (works in part) or `missing`",
      evidence: "how that was seen; of `kvm` it begins with `none`, `tiny` or `linux`",
      remedy: "what to do, or empty",
    },
  },
  stats: {
    of: "`stats` (an array)",
    fields: {
      schema: '`"tripod.stats/1"`',
      id: "the sandbox's",
      name: "the sandbox's",
      mode: "as above",
      monitor: "as above",
      memoryBytes: "in use, droppable page cache left out",
      memoryLimitBytes: "or null",
      cpuNs: "nanoseconds since the start",
      cpuPercent: "in the last second; 100 is one processor",
      processes: "how many",
    },
  },
  version: {
    of: "`version`",
    fields: {
      schema: '`"tripod.version/1"`',
      version: "Tripod's",
      node: "the version of the Node it runs on",
      tree: "the installation",
    },
  },
} as const satisfies Readonly<Record<string, DocumentRecord>>;
