/**
 * Memory of idle sandboxes: `node bench/memory.ts [count]` (default 100). PSS in kB a process, of `count` sandboxes of each kind at once: the warden, and the monitor less
 * its guest's RAM.
 */

import { mean, memoryOf, pidsOf } from "./pss.ts";
import { row, withBench } from "./support.ts";

const count = Number(process.argv[2] ?? 100);
await withBench(async (bench) => {
  for (const monitor of ["spt", "hvt"] as const) {
    for (let started = 0; started < count; started += 10)
      await Promise.all(
        Array.from({ length: Math.min(10, count - started) }, () =>
          bench.tripod("run", "-d", "--network", "none", "--monitor", monitor, "httpreply"),
        ),
      );
    const { wardens, monitors } = pidsOf(bench);
    if (wardens.length !== count || monitors.length !== count)
      throw new Error(`${wardens.length} wardens and ${monitors.length} monitors, not ${count}`);
    const wardenKb = mean(wardens.map((pid) => memoryOf(pid).pssKb));
    const seen = monitors.map((pid) => memoryOf(pid));
    const tenderKb = mean(seen.map(({ pssKb, guestKb }) => pssKb - guestKb));
    const guestKb = mean(seen.map((one) => one.guestKb));
    row(`${monitor}: warden, PSS of ${count}`, `${wardenKb.toFixed(1)} kB`, "aim ≤ 100 kB");
    row(`${monitor}: tender without guest RAM, PSS of ${count}`, `${tenderKb.toFixed(1)} kB`, "aim ≤ 500 kB");
    row(`${monitor}: guest RAM touched`, `${guestKb.toFixed(1)} kB`);
    const ids = (await bench.tripod("ps", "-q")).trim().split("\n");
    await bench.tripod("rm", "-f", ...ids);
  }
});
