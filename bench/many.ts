/**
 * Many at once: `node bench/many.ts [count]` (default 50). Starts `count` sandboxes at the same moment and takes the time until the last start has returned; one way after
 * the other, in one run, without a network, and with one until the last has answered by HTTP. runc is asked the same without Tripod.
 */

import { type Bench, milliseconds, outputOf, row, runcBundle, withBench } from "./support.ts";

const count = Number(process.argv[2] ?? 50);

async function removeAll(bench: Bench): Promise<void> {
  const ids = (await bench.tripod("ps", "-a", "-q")).trim().split("\n").filter(Boolean);
  if (ids.length > 0) await bench.tripod("rm", "-f", ...ids);
}

async function atOnce(start: (index: number) => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await Promise.all(Array.from({ length: count }, (_, index) => start(index)));
  return performance.now() - begun;
}

async function answers(address: string): Promise<void> {
  const until = performance.now() + 60_000;
  for (;;) {
    const ok = await fetch(`http://${address}/healthz`, { signal: AbortSignal.timeout(5000) }).then(
      (answer) => answer.ok,
      () => false,
    );
    if (ok) return;
    if (performance.now() > until) throw new Error(`${address} does not answer`);
  }
}

await withBench(async (bench) => {
  const ways = { spt: ["--monitor", "spt"], container: ["--mode", "container"] };
  for (const way of Object.values(ways)) await bench.tripod("run", "--rm", ...way, "httpreply", "exit=0");
  for (const [name, way] of Object.entries(ways)) {
    const ms = await atOnce(() => bench.tripod("run", "-d", "--network", "none", ...way, "httpreply"));
    row(
      `${count} at once, no network: tripod run, ${name}`,
      milliseconds(ms),
      `${milliseconds(ms / count)} each`,
    );
    await removeAll(bench);
  }
  const bundle = runcBundle(bench.root);
  const prefix = `tpbench-${process.pid}`;
  // Detached with streams of its own: runc's child would hold ours open.
  const runc = (index: number): Promise<string> =>
    outputOf(
      "sh",
      ["-c", `exec runc run -d --bundle ${bundle} ${prefix}-${index} </dev/null >/dev/null 2>&1`],
      bench.env,
    );
  const runcMs = await atOnce(runc);
  row(`${count} at once, no network: runc run`, milliseconds(runcMs), `${milliseconds(runcMs / count)} each`);
  await Promise.all(
    Array.from({ length: count }, (_, index) =>
      outputOf("runc", ["delete", "-f", `${prefix}-${index}`], bench.env),
    ),
  );
  for (const [name, way] of Object.entries(ways)) {
    const begun = performance.now();
    await atOnce(() => bench.tripod("run", "-d", ...way, "httpreply"));
    const seen = JSON.parse(await bench.tripod("ps", "-o", "json")) as { readonly address: string }[];
    await Promise.all(seen.map(({ address }) => answers(address)));
    const ms = performance.now() - begun;
    row(
      `${count} at once, all answer: tripod run, ${name}`,
      milliseconds(ms),
      `${milliseconds(ms / count)} each`,
    );
    await removeAll(bench);
  }
});
