import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parse } from "smol-toml";
import { decodeConfig, defaultConfig } from "./config.ts";
import { TripodError } from "./errors.ts";

const refused = (toml: string, message: RegExp): void => {
  assert.throws(
    () => decodeConfig(parse(toml), "/etc/tripod/config.toml"),
    (error) => {
      assert.ok(error instanceof TripodError);
      assert.equal(error.code, "config-invalid");
      assert.match(error.message, /^\/etc\/tripod\/config\.toml/);
      assert.match(error.message, message);
      return true;
    },
  );
};

test("an empty file means the defaults", () => {
  assert.deepEqual(decodeConfig(parse(""), "f"), defaultConfig);
});

test("every key is read", () => {
  const config = decodeConfig(
    parse(`
[policy]
order = ["unikernel/spt", "container"]
allow_emulation = true
[[policy.demand]]
image = "evil/*"
modes = ["unikernel"]
[monitors.qemu]
path = "/opt/qemu"
default_memory = "128Mi"
default_vcpus = 2
[monitors.hvt]
default_memory = 1048576
[network]
default = "none"
cni_plugin_dirs = ["/opt/cni/bin"]
nat_pool = "198.19.0.0/16"
[accelerator]
vaccel = true
[log]
max_size = "1Mi"
files = 5
`),
    "f",
  );
  assert.deepEqual(config, {
    policy: {
      order: ["unikernel/spt", "container"],
      allowEmulation: true,
      demands: [{ image: "evil/*", modes: ["unikernel"] }],
    },
    monitors: {
      qemu: { path: "/opt/qemu", defaultMemoryBytes: 134217728, defaultVcpus: 2 },
      hvt: { defaultMemoryBytes: 1048576 },
    },
    network: { default: "none", cniPluginDirs: ["/opt/cni/bin"], natPool: "198.19.0.0/16" },
    accelerator: { vaccel: true },
    log: { maxBytes: 1048576, files: 5 },
  });
});

test("the example of docs/configuration.md is read, and has every key", () => {
  const page = readFileSync(join(import.meta.dirname, "../../docs/configuration.md"), "utf8");
  const toml = /```toml\n([\s\S]*?)```/.exec(page)?.[1];
  assert.ok(toml !== undefined);
  const config = decodeConfig(parse(toml), "docs/configuration.md");
  assert.deepEqual(config.log, defaultConfig.log);
  assert.equal(config.network.default, defaultConfig.network.default);
  for (const key of [
    "order",
    "allow_emulation",
    "image",
    "modes",
    "path",
    "default_memory",
    "default_vcpus",
    "cni_plugin_dirs",
    "nat_pool",
  ])
    assert.match(toml, new RegExp(`^${key} = `, "m"));
});

test("an unknown key is named with the nearest known one, wherever it stands", () => {
  refused("polcy = 1", /key polcy is not known; the nearest known key is policy/);
  refused("[policy]\nallow_emulatoin = true", /policy\.allow_emulatoin .* allow_emulation$/);
  refused("[monitors.qemo]", /monitors\.qemo .* qemu$/);
  refused("[monitors.qemu]\nmemory = '1Gi'", /monitors\.qemu\.memory /);
  refused('[[policy.demand]]\nimage = "x"\nmode = []', /policy\.demand\.0\.mode/);
});

test("a wrong value is refused with what it must be", () => {
  refused('[policy]\norder = ["unikernl"]', /policy\.order\.0 .*nearest is unikernel/);
  refused("[policy]\norder = []", /must not be empty/);
  refused('[policy]\norder = ["container/runc"]', /must be one of/);
  refused("policy = 3", /key policy must be a table/);
  refused('[monitors.qemu]\npath = "qemu"', /must be an absolute path/);
  refused('[monitors.qemu]\ndefault_memory = "much"', /is no size/);
  refused("[monitors.qemu]\ndefault_vcpus = 0", /whole number from 1 to 16/);
  refused('[network]\ndefault = "../x"', /is no network name/);
});
