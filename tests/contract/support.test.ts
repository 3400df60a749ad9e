/** The support table of docs/support.md says nothing that the drivers do not. */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { guestDriver } from "../../src/guest/index.ts";
import { monitors } from "../../src/monitor/index.ts";
import { guestKinds } from "../../src/spec/values.ts";
import { ran } from "../support/ran.ts";
import { tree } from "../support/tripod.ts";

test("what was run for real is declared by guest and monitor, and its test is there", () => {
  for (const { guest, monitor, arch, root, test: file } of ran) {
    const driver = guestDriver(guest);
    const features = monitors.find(({ features: { kind } }) => kind === monitor)?.features;
    assert.ok(driver?.arches.includes(arch) && driver.roots.includes(root), guest);
    assert.ok(features?.guests[guest]?.includes(arch), monitor);
    assert.ok(existsSync(join(tree, file)), file);
  }
});

test("every guest that a monitor declares has a driver for one of its architectures", () => {
  for (const { features } of monitors)
    for (const guest of guestKinds)
      assert.ok(
        features.guests[guest] === undefined ||
          guestDriver(guest)?.arches.some((arch) => features.guests[guest]?.includes(arch)),
        `${guest} by ${features.kind}`,
      );
});
