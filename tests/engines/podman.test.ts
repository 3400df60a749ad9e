/** Debian's podman, with conmon, on `tripod-runtime`. */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { hasPrograms, makePlace } from "../support/engines.ts";
import { requires } from "../support/requires.ts";
import { runtimeProgram } from "../support/runtime.ts";
import { battery } from "./battery.ts";

test("podman runs containers and unikernels", async (t) => {
  if (!requires(t, "podman", hasPrograms("podman", "conmon"))) return;
  const place = makePlace(t);
  const { dir, name } = place;
  mkdirSync(join(dir, "networks"));
  writeFileSync(
    join(dir, "containers.conf"),
    `[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\ntmp_dir = "${dir}/tmp"\n[network]\nnetwork_config_dir = "${dir}/networks"\ncni_plugin_dirs = ["/usr/lib/cni"]\n`,
  );
  writeFileSync(
    join(dir, "storage.conf"),
    `[storage]\ndriver = "vfs"\nrunroot = "${dir}/storage-run"\ngraphroot = "${dir}/storage"\n`,
  );
  const env = {
    CONTAINERS_CONF: join(dir, "containers.conf"),
    CONTAINERS_STORAGE_CONF: join(dir, "storage.conf"),
  };
  // Not by `--runtime-flag`: podman's clean-up after an exit leaves flags out.
  const runtime = join(dir, "tripod-runtime");
  writeFileSync(
    runtime,
    `#!/bin/sh\nexec ${runtimeProgram} --root=${dir}/oci --tripod-root=${dir}/tripod "$@"\n`,
    { mode: 0o755 },
  );
  const cli: Parameters<typeof battery>[1]["cli"] = (argv, options = {}) =>
    place.run("podman", ["--runtime", runtime, ...argv], { ...options, env });
  t.after(() => cli(["rm", "-a", "-f", "-t", "0"]));
  await battery(t, {
    place,
    cli,
    // Without CAP_SYS_RESOURCE no limit can be raised to podman's own.
    runFlags: ["--cgroup-parent", `/${name}`, "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"],
    topIsExact: false,
    checksHealth: false,
  });
});
