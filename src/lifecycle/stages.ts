/** How long each stage of a start took. The stages are the same in every mode. */

export const stageNames = [
  "node",
  "image",
  "facts",
  "decide",
  "layers",
  "warden",
  "ground",
  "network",
  "launch",
  "start",
] as const;
export type StageName = (typeof stageNames)[number];

/** Times in milliseconds; a stage that did not happen is 0. */
export class Stages {
  readonly #ms = new Map<StageName, number>();
  #last: number;

  /** `node` is what passed since the process was started. */
  constructor(now: number = performance.now()) {
    this.#ms.set("node", now);
    this.#last = now;
  }

  /** Ends a stage: all time since the last call is its own, less what `part` took of it. */
  end(name: StageName, part?: { readonly name: StageName; readonly ms: number }): void {
    const now = performance.now();
    this.#ms.set(name, now - this.#last - (part?.ms ?? 0));
    if (part !== undefined) this.#ms.set(part.name, part.ms);
    this.#last = now;
  }

  get totalMs(): number {
    return this.#last;
  }

  rows(): { readonly stage: StageName | "total"; readonly ms: number }[] {
    const stages = stageNames.map((stage) => ({ stage, ms: this.#ms.get(stage) ?? 0 }));
    return [...stages, { stage: "total", ms: this.totalMs }];
  }
}
