/**
 * Many unikernels at once by the OCI command line alone: `node bench/crowd.ts [count]` (default 100), with tripodd up, all created and started side by side. The
 * time until the last has written its first line, and the memory of each beyond the guest's own (PSS, mean).
 */

import { spawn } from "node:child_process";
import { join } from "node:path";
import { mean, memoryOf, pidsOf } from "./pss.ts";
import { type Bench, milliseconds, row, startDaemon, tree, unikernelBundle, withBench } from "./support.ts";

const count = Number(process.argv[2] ?? 100);
const program = join(tree, "bin/tripod-runtime");

async function main(bench: Bench): Promise<void> {
  const bundle = unikernelBundle(bench.root, "bundle", []);
  const globals = ["--root", join(bench.root, "oci"), "--tripod-root", bench.root];
  const ids = Array.from({ length: count }, (_, index) => `crowd${process.pid}-${index}`);
  const ended = (
    argv: readonly string[],
    output: "pipe" | "ignore",
  ): { first: Promise<void>; done: Promise<void> } => {
    const child = spawn(program, [...globals, ...argv], {
      env: bench.env,
      stdio: ["ignore", output, "ignore"],
      timeout: 120_000,
    });
    return {
      first: new Promise((resolve) => child.stdout?.once("data", () => resolve())),
      done: new Promise((resolve, reject) => {
        child.once("error", reject);
        child.once("exit", (code) =>
          code === 0 ? resolve() : reject(new Error(`${argv.join(" ")} ended with ${String(code)}`)),
        );
      }),
    };
  };
  const daemon = await startDaemon(bench);
  try {
    const begun = performance.now();
    await Promise.all(
      ids.map(async (id) => {
        const created = ended(["create", "--bundle", bundle, id], "pipe");
        await created.done;
        await ended(["start", id], "ignore").done;
        await created.first;
      }),
    );
    const taken = performance.now() - begun;
    row(
      `${count} unikernels, create + start to the last first line`,
      milliseconds(taken),
      `${milliseconds(taken / count)} each`,
    );
    const { wardens, monitors } = pidsOf({ root: join(bench.root, "oci") });
    const [own, beside] = [wardens.map(memoryOf), monitors.map(memoryOf)];
    if (wardens.length !== count) throw new Error(`${wardens.length} wardens of ${count} live`);
    row("warden, PSS", `${mean(own.map(({ pssKb }) => pssKb)).toFixed(1)} kB`);
    row(
      "tender, PSS without the guest's RAM",
      `${mean(beside.map(({ pssKb, guestKb }) => pssKb - guestKb)).toFixed(1)} kB`,
    );
    row("guest RAM touched, PSS", `${mean(beside.map(({ guestKb }) => guestKb)).toFixed(1)} kB`);
  } finally {
    await Promise.allSettled(ids.map((id) => ended(["delete", "--force", id], "ignore").done));
    await daemon.stop();
  }
}

await withBench(main);
