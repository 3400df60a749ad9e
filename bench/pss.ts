/** Memory of wardens and monitors, as the kernel shares it out (PSS). */

import { readFileSync, readdirSync } from "node:fs";
import type { Bench } from "./support.ts";

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
export function memoryOf(pid: string): { readonly pssKb: number; readonly guestKb: number } {
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

export const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

export function pidsOf({ root }: Pick<Bench, "root">): {
  readonly wardens: string[];
  readonly monitors: string[];
} {
  const [wardens, monitors]: [string[], string[]] = [[], []];
  const children = new Map<string, string[]>();
  for (const pid of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry)))
    try {
      const parent = /^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "";
      children.set(parent, [...(children.get(parent) ?? []), pid]);
      if (readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(`serve\0--dir\0${root}/`)) wardens.push(pid);
    } catch {
      // Ended meanwhile.
    }
  for (const pid of wardens) monitors.push(...(children.get(pid) ?? []));
  return { wardens, monitors };
}
