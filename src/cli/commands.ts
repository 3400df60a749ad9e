/** All commands. Help, docs/cli.md and completion are made from this list. */

import { type ArgumentRecord, type Command, command } from "./command.ts";
import * as flags from "./flags.ts";

const sandboxArgument = {
  name: "SANDBOX",
  help: "a name, an id or the beginning of an id",
} as const satisfies ArgumentRecord;
const sandboxArguments = { ...sandboxArgument, many: true } as const satisfies ArgumentRecord;
const imageArgument = {
  name: "IMAGE",
  help: "a reference as docker has them, e.g. debian, debian:12, localhost:5000/app@sha256:…",
} as const satisfies ArgumentRecord;
const imageArguments = { ...imageArgument, many: true } as const satisfies ArgumentRecord;

export const commands: readonly Command[] = [
  command({
    name: "run",
    group: "sandbox",
    summary: "Run an image, as a container or as a unikernel",
    details: [
      "Everything after IMAGE goes to the workload as it is. An image that is not in the store is pulled first. " +
        "The decision is told in one line on stderr; tripod explain IMAGE shows all of it.",
      "Exit status: the workload's own; 125 when Tripod failed, 126 when the program could not be started, 127 when it is not in the " +
        "image, 128 + N when signal N ended it. Ctrl-C asks the workload to stop and leaves nothing behind.",
    ],
    args: [imageArgument, { name: "ARG", optional: true, many: true, help: "arguments of the workload" }],
    flags: flags.runFlags,
    verbatim: true,
    examples: [
      {
        does: "The example, by the best mode of this machine; curl the address that it prints",
        command: "tripod run httpreply",
      },
      {
        does: "In the background, reachable at port 8080 of this machine",
        command: "tripod run -d --name web -p 8080:80 httpreply",
      },
      {
        does: "A shell in a container, removed at its end",
        command: "tripod run --rm -it --mode container debian:12 bash",
      },
      {
        does: "A unikernel under KVM with 32 MiB, and nothing else if that cannot be",
        command: "tripod run --mode unikernel --monitor hvt -m 32m httpreply",
      },
      { does: "What would be done", command: "tripod run --dry-run -o json httpreply" },
    ],
    load: () => import("./run.ts"),
  }),
  command({
    name: "ps",
    group: "sandbox",
    summary: "List sandboxes",
    args: [],
    flags: flags.psFlags,
    examples: [
      { does: "What runs", command: "tripod ps" },
      { does: "Remove everything", command: "tripod ps -aq | xargs -r tripod rm -f" },
    ],
    load: () => import("./ps.ts"),
  }),
  command({
    name: "logs",
    group: "sandbox",
    summary: "Print what a sandbox wrote to stdout and stderr",
    details: ["What the workload wrote to stderr goes to stderr. Old lines go when the log is rotated."],
    args: [sandboxArgument],
    flags: flags.logsFlags,
    examples: [
      { does: "The last ten lines, and what follows", command: "tripod logs -f --tail 10 web" },
      { does: "The last five minutes with times", command: "tripod logs -t --since 5m web" },
    ],
    load: () => import("./logs.ts"),
  }),
  command({
    name: "inspect",
    group: "sandbox",
    summary: "Print all that is known of a sandbox or an image",
    details: [
      "One name gives one object, several an array, in the order of the names. A name is looked for among sandboxes, then among images.",
    ],
    args: [{ name: "NAME", many: true, help: "a sandbox or an image" }],
    flags: flags.inspectFlags,
    examples: [
      { does: "The address of a sandbox", command: "tripod inspect web | jq -r .address" },
      { does: "The ways an image can run", command: "tripod inspect --type image httpreply" },
    ],
    load: () => import("./inspect.ts"),
  }),
  command({
    name: "stop",
    group: "sandbox",
    summary: "Ask sandboxes to stop, and kill those that do not",
    args: [sandboxArguments],
    flags: flags.stopFlags,
    examples: [{ does: "Give it three seconds", command: "tripod stop -t 3 web" }],
    load: () => import("./stop.ts"),
  }),
  command({
    name: "kill",
    group: "sandbox",
    summary: "Send a signal to sandboxes",
    args: [sandboxArguments],
    flags: flags.killFlags,
    examples: [
      { does: "End it at once", command: "tripod kill web" },
      { does: "Let it read its configuration again", command: "tripod kill -s HUP web" },
    ],
    load: () => import("./kill.ts"),
  }),
  command({
    name: "rm",
    group: "sandbox",
    summary: "Remove sandboxes and all that was made for them",
    args: [sandboxArguments],
    flags: flags.rmFlags,
    examples: [
      { does: "One that has stopped", command: "tripod rm web" },
      { does: "Whatever state it is in, after a crash too", command: "tripod rm -f web" },
    ],
    load: () => import("./rm.ts"),
  }),
  command({
    name: "wait",
    group: "sandbox",
    summary: "Wait until sandboxes end and print their exit statuses",
    args: [sandboxArguments],
    flags: flags.waitFlags,
    examples: [{ does: "Use the status", command: 'test "$(tripod wait job)" = 0' }],
    load: () => import("./wait.ts"),
  }),
  command({
    name: "exec",
    group: "sandbox",
    summary: "Run another program in a container",
    details: [
      "A unikernel holds one program and has no way to start a second; the command says so and ends with 126.",
    ],
    args: [
      sandboxArgument,
      { name: "PROGRAM", help: "the program, by path or by the container's PATH" },
      { name: "ARG", optional: true, many: true, help: "its arguments, as they are" },
    ],
    flags: flags.execFlags,
    verbatim: true,
    examples: [{ does: "A shell", command: "tripod exec -it web sh" }],
    load: () => import("./exec.ts"),
  }),
  command({
    name: "stats",
    group: "sandbox",
    summary: "Show the memory, processor time and processes of running sandboxes",
    details: ["Figures are of the sandbox's cgroup: the monitor is part of it."],
    args: [{ ...sandboxArguments, optional: true, help: "default: all that run" }],
    flags: flags.statsFlags,
    examples: [
      { does: "Watch all", command: "tripod stats" },
      { does: "Once, for a program", command: "tripod stats --no-stream -o json web" },
    ],
    load: () => import("./stats.ts"),
  }),
  command({
    name: "top",
    group: "sandbox",
    summary: "List the processes of a container",
    args: [sandboxArgument, { name: "ARG", optional: true, many: true, help: "arguments of ps, e.g. -ef" }],
    flags: flags.topFlags,
    verbatim: true,
    examples: [{ does: "All of them", command: "tripod top web" }],
    load: () => import("./top.ts"),
  }),
  command({
    name: "pause",
    group: "sandbox",
    summary: "Freeze sandboxes",
    args: [sandboxArguments],
    flags: flags.pauseFlags,
    examples: [{ does: "Hold it", command: "tripod pause web" }],
    load: () => import("./pause.ts"),
  }),
  command({
    name: "resume",
    group: "sandbox",
    summary: "Let paused sandboxes go on",
    args: [sandboxArguments],
    flags: flags.pauseFlags,
    examples: [{ does: "Let it go on", command: "tripod resume web" }],
    load: () => import("./resume.ts"),
  }),
  command({
    name: "update",
    group: "sandbox",
    summary: "Change the limits of a container that runs",
    args: [sandboxArgument],
    flags: flags.updateFlags,
    examples: [{ does: "Half a processor and 256 MiB", command: "tripod update --cpus 0.5 -m 256m web" }],
    load: () => import("./update.ts"),
  }),
  command({
    name: "events",
    group: "sandbox",
    summary: "Print what a container's runtime tells of it, as JSON lines",
    args: [sandboxArgument],
    flags: flags.eventsFlags,
    examples: [{ does: "Its figures, as runc has them", command: "tripod events --stats web" }],
    load: () => import("./events.ts"),
  }),
  command({
    name: "images",
    group: "image",
    summary: "List the images in the store",
    args: [],
    flags: flags.imagesFlags,
    examples: [{ does: "As JSON", command: "tripod images -o json" }],
    load: () => import("./images.ts"),
  }),
  command({
    name: "pull",
    group: "image",
    summary: "Fetch images from their registry",
    details: ["Credentials are those of docker login or podman login."],
    args: [imageArguments],
    flags: flags.pullFlags,
    examples: [
      {
        does: "From a registry on this machine, without TLS",
        command: "tripod pull --plain-http localhost:5000/app:1",
      },
    ],
    load: () => import("./pull.ts"),
  }),
  command({
    name: "load",
    group: "image",
    summary: "Put images from an archive or a directory into the store",
    args: [],
    flags: flags.loadFlags,
    examples: [
      { does: "From docker", command: "docker save app:1 | tripod load" },
      { does: "From an OCI layout", command: "tripod load -i ./layout --name app:1" },
    ],
    load: () => import("./load.ts"),
  }),
  command({
    name: "save",
    group: "image",
    summary: "Write images to an archive that OCI tools and docker load",
    args: [imageArguments],
    flags: flags.saveFlags,
    examples: [{ does: "To a file", command: "tripod save -o app.tar app:1" }],
    load: () => import("./save.ts"),
  }),
  command({
    name: "rmi",
    group: "image",
    summary: "Remove images, and what only they needed",
    args: [imageArguments],
    flags: flags.rmiFlags,
    examples: [{ does: "By name", command: "tripod rmi app:1" }],
    load: () => import("./rmi.ts"),
  }),
  command({
    name: "explain",
    group: "image",
    summary: "Show every way an image could run here, and why it does or does not",
    args: [imageArgument],
    flags: flags.explainFlags,
    examples: [
      { does: "The whole table; the chosen row is marked", command: "tripod explain httpreply" },
      { does: "With a wish", command: "tripod explain --monitor qemu httpreply" },
    ],
    load: () => import("./explain.ts"),
  }),
  command({
    name: "check",
    group: "machine",
    summary: "Look at what this machine can do, and what to do about the rest",
    details: [
      "Probes anew and keeps the answer for later commands: a guest is run under KVM, a container by each runtime, layers are stacked. " +
        "Exit status: 0 when some mode runs here, 1 otherwise.",
    ],
    args: [],
    flags: flags.checkFlags,
    examples: [
      { does: "The table", command: "tripod check" },
      {
        does: "What is missing, for a program",
        command: "tripod check -o json | jq '.[] | select(.verdict != \"ok\")'",
      },
    ],
    load: () => import("./check.ts"),
  }),
  command({
    name: "version",
    group: "machine",
    summary: "Print the versions of Tripod and its programs",
    args: [],
    flags: flags.versionFlags,
    examples: [{ does: "As JSON", command: "tripod version -o json" }],
    load: () => import("./version.ts"),
  }),
  command({
    name: "completion",
    group: "machine",
    summary: "Print the completion script of a shell",
    args: [{ name: "SHELL", help: "bash" }],
    flags: flags.completionFlags,
    examples: [{ does: "For this shell", command: 'eval "$(tripod completion bash)"' }],
    load: () => import("./completion.ts"),
  }),
];
