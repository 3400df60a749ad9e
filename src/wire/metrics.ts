/**
 * What a cgroup has used, as containerd and Kubernetes read it from the answer to Stats: io.containerd.cgroups.v1.Metrics and v2. Source:
 * cgroup1/stats/metrics.proto and cgroup2/stats/metrics.proto of containerd's module cgroups. Kubernetes counts `usage` less `inactiveFile`: both belong in.
 *
 * Every number of 64 bits is a bigint: nanoseconds of many processors pass 2^53 within days, and a limit that is not set is near 2^63 (v1) or 2^64 - 1 (v2).
 */

import { message } from "./protobuf.ts";

const v1 = "io.containerd.cgroups.v1";
const v2 = "io.containerd.cgroups.v2";

const pidsFields = {
  current: [1, "biguint64"],
  limit: [2, "biguint64"],
} as const;

const networkFields = {
  name: [1, "string"],
  rxBytes: [2, "biguint64"],
  rxPackets: [3, "biguint64"],
  rxErrors: [4, "biguint64"],
  rxDropped: [5, "biguint64"],
  txBytes: [6, "biguint64"],
  txPackets: [7, "biguint64"],
  txErrors: [8, "biguint64"],
  txDropped: [9, "biguint64"],
} as const;

const rdmaFields = {
  device: [1, "string"],
  hcaHandles: [2, "uint32"],
  hcaObjects: [3, "uint32"],
} as const;

const rdmaEntryV1 = message(`${v1}.RdmaEntry`, rdmaFields);
const rdmaEntryV2 = message(`${v2}.RdmaEntry`, rdmaFields);

const hugetlbStatV1 = message(`${v1}.HugetlbStat`, {
  usage: [1, "biguint64"],
  max: [2, "biguint64"],
  failcnt: [3, "biguint64"],
  pagesize: [4, "string"],
});

const pidsStatV1 = message(`${v1}.PidsStat`, pidsFields);

const cpuUsageV1 = message(`${v1}.CPUUsage`, {
  total: [1, "biguint64"],
  kernel: [2, "biguint64"],
  user: [3, "biguint64"],
  perCpu: [4, { repeated: "biguint64" }],
});

const throttleV1 = message(`${v1}.Throttle`, {
  periods: [1, "biguint64"],
  throttledPeriods: [2, "biguint64"],
  throttledTime: [3, "biguint64"],
});

const cpuStatV1 = message(`${v1}.CPUStat`, {
  usage: [1, cpuUsageV1],
  throttling: [2, throttleV1],
});

const memoryEntryV1 = message(`${v1}.MemoryEntry`, {
  limit: [1, "biguint64"],
  usage: [2, "biguint64"],
  max: [3, "biguint64"],
  failcnt: [4, "biguint64"],
});

const memoryStatV1 = message(`${v1}.MemoryStat`, {
  cache: [1, "biguint64"],
  rss: [2, "biguint64"],
  rssHuge: [3, "biguint64"],
  mappedFile: [4, "biguint64"],
  dirty: [5, "biguint64"],
  writeback: [6, "biguint64"],
  pgPgIn: [7, "biguint64"],
  pgPgOut: [8, "biguint64"],
  pgFault: [9, "biguint64"],
  pgMajFault: [10, "biguint64"],
  inactiveAnon: [11, "biguint64"],
  activeAnon: [12, "biguint64"],
  inactiveFile: [13, "biguint64"],
  activeFile: [14, "biguint64"],
  unevictable: [15, "biguint64"],
  hierarchicalMemoryLimit: [16, "biguint64"],
  hierarchicalSwapLimit: [17, "biguint64"],
  totalCache: [18, "biguint64"],
  totalRss: [19, "biguint64"],
  totalRssHuge: [20, "biguint64"],
  totalMappedFile: [21, "biguint64"],
  totalDirty: [22, "biguint64"],
  totalWriteback: [23, "biguint64"],
  totalPgPgIn: [24, "biguint64"],
  totalPgPgOut: [25, "biguint64"],
  totalPgFault: [26, "biguint64"],
  totalPgMajFault: [27, "biguint64"],
  totalInactiveAnon: [28, "biguint64"],
  totalActiveAnon: [29, "biguint64"],
  totalInactiveFile: [30, "biguint64"],
  totalActiveFile: [31, "biguint64"],
  totalUnevictable: [32, "biguint64"],
  usage: [33, memoryEntryV1],
  swap: [34, memoryEntryV1],
  kernel: [35, memoryEntryV1],
  kernelTcp: [36, memoryEntryV1],
});

const blkioEntryV1 = message(`${v1}.BlkIOEntry`, {
  op: [1, "string"],
  device: [2, "string"],
  major: [3, "biguint64"],
  minor: [4, "biguint64"],
  value: [5, "biguint64"],
});

const blkioStatV1 = message(`${v1}.BlkIOStat`, {
  ioServiceBytesRecursive: [1, { repeated: blkioEntryV1 }],
  ioServicedRecursive: [2, { repeated: blkioEntryV1 }],
  ioQueuedRecursive: [3, { repeated: blkioEntryV1 }],
  ioServiceTimeRecursive: [4, { repeated: blkioEntryV1 }],
  ioWaitTimeRecursive: [5, { repeated: blkioEntryV1 }],
  ioMergedRecursive: [6, { repeated: blkioEntryV1 }],
  ioTimeRecursive: [7, { repeated: blkioEntryV1 }],
  sectorsRecursive: [8, { repeated: blkioEntryV1 }],
});

const rdmaStatV1 = message(`${v1}.RdmaStat`, {
  current: [1, { repeated: rdmaEntryV1 }],
  limit: [2, { repeated: rdmaEntryV1 }],
});

const networkStatV1 = message(`${v1}.NetworkStat`, networkFields);

const cgroupStatsV1 = message(`${v1}.CgroupStats`, {
  nrSleeping: [1, "biguint64"],
  nrRunning: [2, "biguint64"],
  nrStopped: [3, "biguint64"],
  nrUninterruptible: [4, "biguint64"],
  nrIoWait: [5, "biguint64"],
});

const memoryOomControlV1 = message(`${v1}.MemoryOomControl`, {
  oomKillDisable: [1, "biguint64"],
  underOom: [2, "biguint64"],
  oomKill: [3, "biguint64"],
});

export const metricsV1 = message(`${v1}.Metrics`, {
  hugetlb: [1, { repeated: hugetlbStatV1 }],
  pids: [2, pidsStatV1],
  cpu: [3, cpuStatV1],
  memory: [4, memoryStatV1],
  blkio: [5, blkioStatV1],
  rdma: [6, rdmaStatV1],
  network: [7, { repeated: networkStatV1 }],
  cgroupStats: [8, cgroupStatsV1],
  memoryOomControl: [9, memoryOomControlV1],
});

const pidsStatV2 = message(`${v2}.PidsStat`, pidsFields);

const psiDataV2 = message(`${v2}.PSIData`, {
  avg10: [1, "double"],
  avg60: [2, "double"],
  avg300: [3, "double"],
  total: [4, "biguint64"],
});

const psiStatsV2 = message(`${v2}.PSIStats`, {
  some: [1, psiDataV2],
  full: [2, psiDataV2],
});

const cpuStatV2 = message(`${v2}.CPUStat`, {
  usageUsec: [1, "biguint64"],
  userUsec: [2, "biguint64"],
  systemUsec: [3, "biguint64"],
  nrPeriods: [4, "biguint64"],
  nrThrottled: [5, "biguint64"],
  throttledUsec: [6, "biguint64"],
  psi: [7, psiStatsV2],
  nrBursts: [8, "biguint64"],
  burstUsec: [9, "biguint64"],
});

const memoryStatV2 = message(`${v2}.MemoryStat`, {
  anon: [1, "biguint64"],
  file: [2, "biguint64"],
  kernelStack: [3, "biguint64"],
  slab: [4, "biguint64"],
  sock: [5, "biguint64"],
  shmem: [6, "biguint64"],
  fileMapped: [7, "biguint64"],
  fileDirty: [8, "biguint64"],
  fileWriteback: [9, "biguint64"],
  anonThp: [10, "biguint64"],
  inactiveAnon: [11, "biguint64"],
  activeAnon: [12, "biguint64"],
  inactiveFile: [13, "biguint64"],
  activeFile: [14, "biguint64"],
  unevictable: [15, "biguint64"],
  slabReclaimable: [16, "biguint64"],
  slabUnreclaimable: [17, "biguint64"],
  pgfault: [18, "biguint64"],
  pgmajfault: [19, "biguint64"],
  workingsetRefault: [20, "biguint64"],
  workingsetActivate: [21, "biguint64"],
  workingsetNodereclaim: [22, "biguint64"],
  pgrefill: [23, "biguint64"],
  pgscan: [24, "biguint64"],
  pgsteal: [25, "biguint64"],
  pgactivate: [26, "biguint64"],
  pgdeactivate: [27, "biguint64"],
  pglazyfree: [28, "biguint64"],
  pglazyfreed: [29, "biguint64"],
  thpFaultAlloc: [30, "biguint64"],
  thpCollapseAlloc: [31, "biguint64"],
  usage: [32, "biguint64"],
  usageLimit: [33, "biguint64"],
  swapUsage: [34, "biguint64"],
  swapLimit: [35, "biguint64"],
  maxUsage: [36, "biguint64"],
  swapMaxUsage: [37, "biguint64"],
  psi: [38, psiStatsV2],
});

const rdmaStatV2 = message(`${v2}.RdmaStat`, {
  current: [1, { repeated: rdmaEntryV2 }],
  limit: [2, { repeated: rdmaEntryV2 }],
});

const ioEntryV2 = message(`${v2}.IOEntry`, {
  major: [1, "biguint64"],
  minor: [2, "biguint64"],
  rbytes: [3, "biguint64"],
  wbytes: [4, "biguint64"],
  rios: [5, "biguint64"],
  wios: [6, "biguint64"],
});

const ioStatV2 = message(`${v2}.IOStat`, {
  usage: [1, { repeated: ioEntryV2 }],
  psi: [2, psiStatsV2],
});

const hugetlbStatV2 = message(`${v2}.HugeTlbStat`, {
  current: [1, "biguint64"],
  max: [2, "biguint64"],
  pagesize: [3, "string"],
  failcnt: [4, "biguint64"],
});

const memoryEventsV2 = message(`${v2}.MemoryEvents`, {
  low: [1, "biguint64"],
  high: [2, "biguint64"],
  max: [3, "biguint64"],
  oom: [4, "biguint64"],
  oomKill: [5, "biguint64"],
  oomGroupKill: [6, "biguint64"],
});

const networkStatV2 = message(`${v2}.NetworkStat`, networkFields);

export const metricsV2 = message(`${v2}.Metrics`, {
  pids: [1, pidsStatV2],
  cpu: [2, cpuStatV2],
  memory: [4, memoryStatV2],
  rdma: [5, rdmaStatV2],
  io: [6, ioStatV2],
  hugetlb: [7, { repeated: hugetlbStatV2 }],
  memoryEvents: [8, memoryEventsV2],
  network: [9, { repeated: networkStatV2 }],
});
