import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { TripodError } from "../spec/errors.ts";
import { dualStack, pvhOffer, sptOffer } from "../spec/fixtures.ts";
import { hostPath } from "../spec/paths.ts";
import type { NetFacts } from "../spec/protocol.ts";
import { guestKinds } from "../spec/values.ts";
import { type BootValues, expandBootLine, netmask4, placeholders } from "./boot-line.ts";
import type { GuestInput } from "./guest.ts";
import { guestDriver, guests } from "./index.ts";
import { pvh } from "./pvh.ts";
import { solo5 } from "./solo5.ts";

const values: BootValues = {
  args: ["port=80", "x"],
  env: ["A=1", "B=2"],
  hostname: "web",
  monitor: "spt",
  net: dualStack,
};
const expand = (template: string, change: Partial<BootValues> = {}, max = 1000): string =>
  expandBootLine(template, { ...values, ...change }, max);

const throwsCode = (code: string, message: RegExp, run: () => unknown): void => {
  assert.throws(run, (error) => {
    assert.ok(error instanceof TripodError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  });
};

test("every placeholder says what the network and the wish say", () => {
  assert.deepEqual(Object.fromEntries(placeholders.map((name) => [name, expand(`{${name}}`)])), {
    ipv4: "10.128.0.5/20",
    address4: "10.128.0.5",
    prefix4: "20",
    netmask4: "255.255.240.0",
    gateway4: "10.128.0.1",
    ipv6: "fd00::5/64",
    address6: "fd00::5",
    prefix6: "64",
    gateway6: "fd00::1",
    dns: "10.128.0.1",
    mac: "0a:58:0a:80:00:05",
    mtu: "1450",
    hostname: "web",
    monitor: "spt",
    args: "port=80 x",
    env: "A=1 B=2",
  });
});

test("a word whose placeholder has no value is dropped whole; the others stay", () => {
  const template = "ip={ipv4} gateway={gateway4} monitor={monitor} {args} end";
  assert.equal(expand(template), "ip=10.128.0.5/20 gateway=10.128.0.1 monitor=spt port=80 x end");
  assert.equal(expand(template, { net: undefined, args: [] }), "monitor=spt end");
  const unrouted: NetFacts = { ...dualStack, routes: [] };
  assert.equal(expand(template, { net: unrouted, args: [] }), "ip=10.128.0.5/20 monitor=spt end");
  assert.equal(expand("{ipv4}:{gateway4}:{hostname}", { net: unrouted }), "");
});

test("doubled braces are literal", () => {
  assert.equal(expand('{{"cmdline":"{hostname}"}}'), '{"cmdline":"web"}');
});

test("mistakes in a template are told with what is known", () => {
  throwsCode("annotation-invalid", /\{ip4\} is no placeholder/, () => expand("ip={ip4}"));
  throwsCode("annotation-invalid", /unpaired \{/, () => expand("ip={ipv4"));
  throwsCode("annotation-invalid", /unpaired \}/, () => expand("ip=}"));
  throwsCode("annotation-invalid", /words of their own/, () => expand("x={args}"));
});

test("what a boot line cannot carry is refused, never changed", () => {
  throwsCode("usage", /argument 2 has a blank/, () => expand("{args}", { args: ["a", "b c"] }));
  throwsCode("usage", /argument 1 has an empty value/, () => expand("{args}", { args: [""] }));
  throwsCode("usage", /the variable A has the character U\+000a/, () => expand("{env}", { env: ["A=1\n2"] }));
  throwsCode("usage", /argument 1 has the character U\+0000/, () => expand("{args}", { args: ["a\0"] }));
  throwsCode("usage", /is 6 bytes long, 5 is the most/, () => expand("{args}", { args: ["äöü"] }, 5));
});

const words = fc.string({
  unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)),
  minLength: 1,
});

test("property: arguments come out as they went in, in their order", () => {
  fc.assert(
    fc.property(fc.array(words), fc.array(words), (args, env) => {
      const line = expand("{args} {env}", { args, env }, 1_000_000);
      assert.deepEqual(line === "" ? [] : line.split(" "), [...args, ...env]);
    }),
  );
});

test("property: any template ends in a line within its length or a clear error, without a line break or an empty word", () => {
  const template = fc
    .array(
      fc.oneof(fc.constantFrom(...placeholders.map((name) => `{${name}}`)), fc.string(), fc.constant(" ")),
    )
    .map((parts) => parts.join(""));
  fc.assert(
    fc.property(
      template,
      fc.array(fc.string()),
      fc.option(fc.constant(dualStack), { nil: undefined }),
      (text, args, net) => {
        try {
          const line = expand(text, { args, net }, 200);
          assert.ok(Buffer.byteLength(line) <= 200);
          assert.doesNotMatch(line, /[\n\t]| {2}|^ | $/);
        } catch (error) {
          assert.ok(error instanceof TripodError, String(error));
          assert.ok(error.code === "usage" || error.code === "annotation-invalid");
        }
      },
    ),
  );
});

test("netmasks of all prefixes", () => {
  assert.deepEqual([0, 1, 8, 20, 31, 32].map(netmask4), [
    "0.0.0.0",
    "128.0.0.0",
    "255.0.0.0",
    "255.255.240.0",
    "255.255.255.254",
    "255.255.255.255",
  ]);
});

const input: GuestInput = {
  ...values,
  offer: sptOffer,
  kernel: hostPath("/layers/kernel"),
  monitor: "spt",
  netDevices: ["service0"],
  blockDevices: [],
  disks: [],
  mounts: [],
  root: { kind: "none" },
  user: { uid: 0, gid: 0 },
  cwd: "/",
  ownsTree: false,
};

test("the first device is the namespace's interface, further ones lead nowhere", () => {
  const { nics } = solo5.boot({ ...input, netDevices: ["service0", "service1"] });
  assert.deepEqual(nics, [
    { name: "service0", tap: "tap0", mac: "0a:58:0a:80:00:05", mtu: 1450 },
    { name: "service1", tap: "tap1", mac: "02:00:00:00:00:02", mtu: 1500 },
  ]);
});

test("a declared device is attached even without a network", () => {
  assert.equal(solo5.boot({ ...input, net: undefined }).nics.length, 1);
});

test("a network that the guest would never see is an error", () => {
  throwsCode("network-failed", /declares no network device/, () => solo5.boot({ ...input, netDevices: [] }));
});

test("a PVH kernel gets one device for each interface", () => {
  const boot = pvh.boot({ ...input, offer: pvhOffer, netDevices: [] });
  assert.deepEqual(
    boot.nics.map(({ name }) => name),
    ["eth0"],
  );
  assert.deepEqual(pvh.boot({ ...input, offer: pvhOffer, netDevices: [], net: undefined }).nics, []);
});

test("without a template of the image, the arguments are the boot line", () => {
  const { bootLine: _, ...offer } = sptOffer;
  assert.equal(solo5.boot({ ...input, offer }).bootLine, "port=80 x");
  assert.equal(pvh.boot({ ...input, offer: { ...offer, guest: "pvh" } }).bootLine, "port=80 x");
});

test("what a Solo5 guest cannot have is refused", () => {
  throwsCode("kernel-invalid", /no name of a Solo5 device/, () =>
    solo5.boot({ ...input, netDevices: ["a-b"] }),
  );
  throwsCode("image-invalid", /takes no initrd/, () =>
    solo5.boot({ ...input, root: { kind: "initrd", path: hostPath("/initrd") } }),
  );
  throwsCode("kernel-invalid", /block device storage, for which nothing/, () =>
    solo5.boot({ ...input, blockDevices: ["storage"] }),
  );
  throwsCode("usage", /8191 is the most/, () => solo5.boot({ ...input, args: ["x".repeat(8192)] }));
});

test("every driver is of one kind that exists, once", () => {
  assert.equal(new Set(guests.map(({ kind }) => kind)).size, guests.length);
  for (const kind of guestKinds) assert.equal(guestDriver(kind)?.kind ?? kind, kind);
});
