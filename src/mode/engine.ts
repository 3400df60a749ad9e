/** What differs on a ground that an engine has laid: the network namespace, and hooks. */

import type { Step } from "../spec/plan.ts";
import type { EngineGround, ModeInput, OciHook } from "./input.ts";

/** All new, but for a network namespace that an engine has made. */
export function namespacesStep({ engine, hostname }: ModeInput): Step {
  const joined = engine?.networkNamespace;
  const own = ["mount", "pid", "ipc", "uts", "cgroup"] as const;
  return {
    do: "namespaces",
    make: joined === undefined ? ["network", ...own] : own,
    join: joined === undefined ? [] : [{ kind: "network", path: joined }],
    hostname,
  };
}

/** Where hooks of a time run, and when (runtime-spec, config.md, POSIX-platform hooks). */
const hookRules = {
  prestart: { when: "now", where: "runtime" },
  createRuntime: { when: "now", where: "runtime" },
  createContainer: { when: "now", where: "container" },
  startContainer: { when: "start", where: "container" },
  poststart: { when: "poststart", where: "runtime" },
  poststop: { when: "poststop", where: "runtime" },
} as const satisfies Record<OciHook["time"], unknown>;

const hookSteps = ({ hooks, hookState }: EngineGround, times: readonly OciHook["time"][]): Step[] =>
  hooks
    .filter(({ time }) => times.includes(time))
    .map(({ time, path, args, env, timeoutMs }) => ({
      do: "hook",
      ...hookRules[time],
      path,
      argv: args,
      env,
      timeoutMs,
      state: Buffer.from(hookState).toString("base64"),
    }));

/** Those that run before the network is looked at: some engines fill the namespace by them. */
export const groundHooks = (engine: EngineGround): Step[] => hookSteps(engine, ["prestart", "createRuntime"]);

/** Those that run beside the launched sandbox or wait for a later time. */
export const launchHooks = (engine: EngineGround): Step[] =>
  hookSteps(engine, ["createContainer", "startContainer", "poststart", "poststop"]);
