/** What `run` was asked for, already parsed; nothing here was looked at on the machine. */

import type { HostPath, SandboxPath } from "../spec/paths.ts";
import type { PortMapping } from "../spec/plan.ts";
import type { Wish } from "../spec/values.ts";

export interface RunRequest {
  readonly reference: string;
  readonly wish: Wish;
  readonly name?: string;
  /** Words after the image. */
  readonly args: readonly string[];
  /** `NAME=value`, or `NAME` to take ours. */
  readonly env: readonly string[];
  readonly entrypoint?: string;
  readonly user?: string;
  readonly workdir?: string;
  readonly hostname?: string;
  readonly volumes: readonly {
    readonly source: HostPath;
    readonly target: SandboxPath;
    readonly readonly: boolean;
  }[];
  /** Default: the configuration's. */
  readonly network?: string;
  /** A host port of 0 takes any free one. */
  readonly ports: readonly PortMapping[];
  readonly labels: Readonly<Record<string, string>>;
  readonly tty: boolean;
  readonly interactive: boolean;
  readonly detach: boolean;
  readonly removeOnExit: boolean;
  /** First size of the terminal. */
  readonly window?: { readonly rows: number; readonly cols: number };
}
