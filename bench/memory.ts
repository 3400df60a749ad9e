/**
 * Memory of idle sandboxes: `node bench/memory.ts [count]` (default 100). PSS in kB a process, of `count` sandboxes of each kind at once: the warden, and the monitor less
 * its guest's RAM.
 */

import { readFileSync, readdirSync } from "node:fs";
import { type Bench, row, withBench } from "./support.ts";

const count = Number(process.argv[2] ?? 100);
/** Runs of anonymous memory from this size, bytes, are the guest's. */
const guestRunBytes = 1 << 20;

interface Mapping {
  readonly start: number;
  readonly end: number;
  readonly name: string;
  readonly pssKb: number;
}

function mappingsOf(pid: string): Mapping[] {
  const mappings: Mapping[] = [];
  let head: Omit<Mapping, "pssKb"> | undefined;
  for (const line of readFileSync(`/proc/${pid}/smaps`, "utf8").split("\n")) {
    const range = /^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \d+ *(.*)$/.exec(line);
    if (range !== null)
      head = {
        start: Number.parseInt(range[1] ?? "", 16),
        end: Number.parseInt(range[2] ?? "", 16),
        name: range[3] ?? "",
      };
    const pss = /^Pss: +(\d+) kB/.exec(line);
    if (pss !== null && head !== undefined) mappings.push({ ...head, pssKb: Number(pss[1]) });
  }
  return mappings;
}

/** PSS in kB: all of it, and what lies in adjoining anonymous mappings of at least `guestRunBytes` together. */
function memoryOf(pid: string): { readonly pssKb: number; readonly guestKb: number } {
  const mappings = mappingsOf(pid);
  let [guestKb, runKb, runBytes, runEnd] = [0, 0, 0, 0];
  const close = (): void => {
    if (runBytes >= guestRunBytes) guestKb += runKb;
    [runKb, runBytes] = [0, 0];
  };
  for (const { start, end, name, pssKb } of mappings) {
    if (name !== "" || start !== runEnd) close();
    if (name === "") {
      runKb += pssKb;
      runBytes += end - start;
      runEnd = end;
    }
  }
  close();
  return { pssKb: mappings.reduce((sum, { pssKb }) => sum + pssKb, 0), guestKb };
}

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

function pidsOf(bench: Bench): { readonly wardens: string[]; readonly monitors: string[] } {
  const [wardens, monitors]: [string[], string[]] = [[], []];
  const children = new Map<string, string[]>();
  for (const pid of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry)))
    try {
      const parent = /^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "";
      children.set(parent, [...(children.get(parent) ?? []), pid]);
      if (readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(`serve\0--dir\0${bench.root}/`))
        wardens.push(pid);
    } catch {
      // Ended meanwhile.
    }
  for (const pid of wardens) monitors.push(...(children.get(pid) ?? []));
  return { wardens, monitors };
}

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
