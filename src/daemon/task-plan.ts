/** From containerd's `Create` to the plans of a task: its root file system mounted, then what every engine's bundle becomes. */

import { isAbsolute, join } from "node:path";
import { decideBundle, keptFile } from "../lifecycle/engine/create.ts";
import { updateSandboxFile } from "../lifecycle/store.ts";
import { type Bundle, readBundle } from "../lifecycle/engine/bundle.ts";
import { composeBundle } from "../lifecycle/engine/compose.ts";
import { derivedFor } from "../lifecycle/engine/delegate.ts";
import type { Context } from "../lifecycle/context.ts";
import type { WardenConnection } from "../host/warden.ts";
import { launch, prepare } from "../mode/index.ts";
import type { TaskHello } from "../spec/brain.ts";
import { TripodError } from "../spec/errors.ts";
import { type HostPath, hostPath, statePath } from "../spec/paths.ts";
import type { Plan, Step, Stdio } from "../spec/plan.ts";
import { type FittingVerdict, type Mode, ociRuntimeKinds } from "../spec/values.ts";
import type { NodeFacts } from "../host/facts/facts.ts";
import type { MessageOf } from "../wire/protobuf.ts";
import type { createTaskRequest } from "../wire/task.ts";
import { neighboursOf } from "./task-record.ts";

type CreateTask = MessageOf<typeof createTaskRequest>;

interface Making {
  readonly hello: TaskHello;
  readonly request: CreateTask;
  readonly context: Context;
  readonly warden: WardenConnection;
  /** Told before anything is launched. */
  readonly onDecided: (decided: { readonly mode: Mode; readonly pod?: string }) => void;
}

/** Makes the task, up to its start. What fails is undone by the warden. Throws as the parts do. */
export async function createTask(making: Making): Promise<void> {
  const { hello, request, context, warden } = making;
  const { rootfs } = request;
  if (rootfs.length > 0) await warden.prepare(planOf(hello, [rootfsStep(hello, rootfs)]), "keep");
  const bundle = readBundle(hello.bundle);
  const { facts, chosen } = await decideBundle(context, bundle, hello);
  const pod = podOf(bundle);
  const pods = neighboursOf(hello.stateDir, pod);
  making.onDecided({ mode: chosen.offer.mode, ...(pod === undefined ? {} : { pod }) });
  if (chosen.offer.mode === "container") {
    await createContainer(making, bundle, { facts, chosen, guests: pods.guests });
    return;
  }
  const input = await composeBundle({
    context,
    bundle,
    request: {
      op: "create",
      version: 1,
      id: hello.id,
      bundle: hello.bundle,
      stateDir: hello.stateDir,
      systemdCgroup: false,
      console: false,
      ...pods,
      path: process.env["PATH"] ?? "",
    },
    facts,
    chosen,
    stdio: stdioOf(request, bundle.config.process?.consoleSize),
  });
  const ground = prepare(input);
  const { net } = await warden.prepare(ground, "keep");
  await updateSandboxFile(hello.stateDir, keptFile(input, ground));
  await warden.launch(launch(input, net).plan);
}

/** By containerd's annotations; undefined for the pod's own sandbox. */
function podOf({ config }: Bundle): string | undefined {
  const annotations = config.annotations ?? {};
  return annotations["io.kubernetes.cri.container-type"] === "container"
    ? annotations["io.kubernetes.cri.sandbox-id"]
    : undefined;
}

const planOf = ({ id }: TaskHello, steps: readonly Step[]): Plan => ({ version: 1, id, steps });

const rootfsStep = ({ bundle }: TaskHello, mounts: CreateTask["rootfs"]): Step => ({
  do: "rootfs",
  at: hostPath(join(bundle, "rootfs")),
  mounts: mounts.map(({ type, source, options }) => ({ type, source, options })),
});

/** A stream's path; undefined: it is nowhere. Throws `usage` for what is no FIFO and no file. */
function streamOf(name: string, text: string): HostPath | undefined {
  if (text === "") return undefined;
  const path = /^(?:fifo|file):\/\//.test(text) ? text.slice("fifo://".length) : text;
  if (!isAbsolute(path))
    throw new TripodError("usage", `the stream ${name} is ${JSON.stringify(text)}, which is no path`);
  return hostPath(path);
}

/** The streams that containerd made; a terminal is passed on by the warden, everything else is the workload's own. */
export function stdioOf(
  { stdin, stdout, stderr, terminal }: Pick<CreateTask, "stdin" | "stdout" | "stderr" | "terminal">,
  size?: { readonly height: number; readonly width: number } | null,
): Stdio {
  const paths = Object.entries({ stdin, stdout, stderr: terminal ? "" : stderr }).flatMap(([name, text]) => {
    const path = streamOf(name, text);
    return path === undefined ? [] : [[name, path] as const];
  });
  const pipes = Object.fromEntries(paths);
  return terminal
    ? {
        terminal,
        ...(size && size.height > 0 && size.width > 0 ? { rows: size.height, cols: size.width } : {}),
        stdin: "inherit",
        tee: true,
        log: { maxBytes: 65_536, files: 1 },
        pipes,
      }
    : { terminal, stdin: "engine", tee: false, pipes };
}

const sigterm = 15;
const stopDeadlineMs = 10_000;

/** The runtime gets the bundle's configuration with its root where it is. */
async function createContainer(
  { hello, request, context, warden }: Making,
  bundle: Bundle,
  {
    facts,
    chosen,
    guests,
  }: { readonly facts: NodeFacts; readonly chosen: FittingVerdict; readonly guests: number },
): Promise<void> {
  const runtime = ociRuntimeKinds.find((kind) => kind === chosen.by);
  const found = runtime === undefined ? undefined : facts.ociRuntimes[runtime];
  if (runtime === undefined || found === undefined || "missing" in found)
    throw new TripodError("monitor-missing", `there is no ${chosen.by} here`);
  const at = statePath("bundle");
  const derived = await derivedFor(bundle, { id: hello.id, guests }, found.path, context);
  const config = derived === undefined ? withAbsoluteRoot(bundle) : derived.config;
  await warden.prepare(
    planOf(hello, [
      { do: "directory", at, mode: 0o700 },
      {
        do: "file",
        at: statePath(`${at}/config.json`),
        content: Buffer.from(JSON.stringify(config)).toString("base64"),
        // Secrets may be in its environment.
        mode: 0o600,
      },
    ]),
    "keep",
  );
  await warden.launch(
    planOf(hello, [
      {
        do: "oci",
        runtime,
        path: found.path,
        bundle: at,
        stdio: stdioOf(request, bundle.config.process?.consoleSize),
        stop: { signal: sigterm, deadlineMs: stopDeadlineMs },
      },
    ]),
  );
}

function withAbsoluteRoot({ raw, rootfs }: Bundle): unknown {
  if (rootfs === undefined || typeof raw !== "object" || raw === null) return raw;
  const root = "root" in raw && typeof raw.root === "object" ? raw.root : {};
  return { ...raw, root: { ...root, path: rootfs } };
}
