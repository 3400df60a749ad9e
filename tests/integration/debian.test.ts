/** Real input: a Debian image from a registry runs as a container with everything that a user expects of one. */

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { debianLayout, push, startRegistry } from "../support/debian.ts";
import { assertNothingLeft, traces } from "../support/leftovers.ts";
import { makeLab } from "../support/tripod.ts";

test(
  "a Debian image is pulled and runs as a container with network, exec, logs and limits",
  { timeout: 900_000 },
  async (t) => {
    const lab = makeLab(t);
    const image = await push(await debianLayout(), "12", await startRegistry(t), "debian");
    await lab.ok(["pull", image], { timeoutMs: 120_000 });
    const run = (...argv: string[]) => lab.tripod(["run", "--rm", ...argv], { timeoutMs: 60_000 });

    await t.test("its output is ours and its exit status is ours", async () => {
      const outcome = await run("--network", "none", image, "sh", "-c", "echo out; echo err >&2; exit 7");
      assert.deepEqual([outcome.code, outcome.stdout], [7, "out\n"]);
      assert.match(outcome.stderr, /^err$/m);
    });

    await t.test("it is Debian, and PID 1 in namespaces of its own", async () => {
      const outcome = await run(
        "--network",
        "none",
        "--hostname",
        "ship",
        image,
        "sh",
        "-c",
        "cat /etc/debian_version; echo $$; hostname; id -u; cat /proc/1/comm",
      );
      assert.match(outcome.stdout, /^12[.\d]*\n1\nship\n0\nsh\n$/);
    });

    await t.test("standard input is passed on with -i", async () => {
      const outcome = await lab.tripod(["run", "--rm", "-i", "--network", "none", image, "cat"], {
        input: "through\n",
      });
      assert.equal(outcome.stdout, "through\n");
    });

    await t.test("it has an address, a route, name servers and its own name", async () => {
      const outcome = await run(
        image,
        "sh",
        "-c",
        "cat /etc/hosts; cat /proc/net/route; cat /etc/resolv.conf; hostname -I",
      );
      assert.equal(outcome.code, 0, outcome.stderr);
      assert.match(outcome.stdout, /eth0\t00000000/);
      assert.match(outcome.stdout, /10\.\d+\.\d+\.\d+/);
    });

    await t.test("exec runs a second program with its own status, user and environment", async () => {
      await lab.ok(["run", "-d", "--name", "box", "--network", "none", image, "sleep", "600"]);
      const outcome = await lab.tripod(["exec", "-e", "WHO=me", "box", "sh", "-c", "echo $WHO; exit 3"]);
      assert.deepEqual([outcome.code, outcome.stdout], [3, "me\n"]);
      assert.match(await lab.ok(["stats", "--no-stream", "box"]), /box/);
      await lab.ok(["rm", "-f", "box"]);
    });

    await t.test(
      "exec runs in the container's namespaces, its network too, and never in the host's",
      async () => {
        for (const network of ["none", "bridge"]) {
          await lab.ok(["run", "-d", "--name", "net", "--network", network, image, "sleep", "600"]);
          const namespaces = "readlink /proc/1/ns/* /proc/self/ns/* | sort | uniq -c | sort -n";
          const seen = await lab.ok(["exec", "net", "sh", "-c", namespaces]);
          // Each namespace twice: once as process 1's, once as the program's own.
          assert.deepEqual(
            seen
              .trim()
              .split("\n")
              .filter((line) => / (net|pid|mnt|ipc|uts|cgroup):/.test(line) && !/^\s*[2-9]/.test(line)),
            [],
            seen,
          );
          assert.equal(
            await lab.ok(["exec", "net", "sh", "-c", "grep -c : /proc/net/dev"]),
            network === "none" ? "1\n" : "2\n",
          );
          await lab.ok(["rm", "-f", "net"]);
        }
      },
    );

    await t.test("its logs are kept, stdout and stderr apart, also when it has ended", async () => {
      await lab.ok([
        "run",
        "-d",
        "--name",
        "talker",
        "--network",
        "none",
        image,
        "sh",
        "-c",
        "echo one; echo two >&2",
      ]);
      assert.equal((await lab.ok(["wait", "talker"])).trim(), "0");
      const logs = await lab.tripod(["logs", "talker"]);
      assert.deepEqual([logs.stdout, logs.stderr], ["one\n", "two\n"]);
      await lab.ok(["rm", "talker"]);
    });

    await t.test("its memory is limited, and who exceeds it is killed and said to be", async () => {
      await lab.ok([
        "run",
        "-d",
        "--name",
        "eater",
        "-m",
        "32m",
        "--network",
        "none",
        image,
        "sh",
        "-c",
        "tail /dev/zero",
      ]);
      assert.equal((await lab.ok(["wait", "eater"])).trim(), "137");
      const seen: unknown = JSON.parse(await lab.ok(["inspect", "eater"]));
      assert.match(JSON.stringify(seen), /"oomKilled":true/);
      await lab.ok(["rm", "eater"]);
    });

    await t.test("TERM reaches it, and who ignores it is killed after the deadline", async () => {
      await lab.ok([
        "run",
        "-d",
        "--name",
        "deaf",
        "--network",
        "none",
        image,
        "sh",
        "-c",
        "trap '' TERM; while :; do sleep 1; done",
      ]);
      await lab.ok(["stop", "-t", "1", "deaf"]);
      const seen: unknown = JSON.parse(await lab.ok(["inspect", "deaf"]));
      assert.match(JSON.stringify(seen), /"exitCode":137/);
      await lab.ok(["rm", "deaf"]);
    });

    await t.test("a volume is the host's directory", async () => {
      writeFileSync(join(lab.root, "note"), "from the host\n");
      const outcome = await run(
        "--network",
        "none",
        "-v",
        `${lab.root}:/data`,
        image,
        "sh",
        "-c",
        "cat /data/note; echo back > /data/answer",
      );
      assert.equal(outcome.stdout, "from the host\n");
      assert.equal(readFileSync(join(lab.root, "answer"), "utf8"), "back\n");
      const readonly = await run(
        "--network",
        "none",
        "-v",
        `${lab.root}:/data:ro`,
        image,
        "sh",
        "-c",
        "echo no > /data/answer",
      );
      assert.notEqual(readonly.code, 0);
    });

    await t.test("a unikernel by this image is refused with the reason", async () => {
      const outcome = await run("--mode", "unikernel", image);
      assert.equal(outcome.code, 125);
      assert.match(outcome.stderr, /container/);
    });

    await t.test(
      "what runs keeps its image when the image is removed, and nothing is left at the end",
      async () => {
        const before = traces(lab.root);
        await lab.ok(["run", "-d", "--name", "keeper", "--network", "none", image, "sleep", "600"]);
        await lab.tripod(["rmi", "-f", image]);
        assert.equal(
          await lab.ok(["exec", "keeper", "cat", "/etc/hostname"]).then((text) => text.length > 0),
          true,
        );
        await lab.ok(["rm", "-f", "keeper"]);
        await assertNothingLeft(lab.root, before, "by a container whose image was removed");
      },
    );
  },
);
