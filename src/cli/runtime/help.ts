/** `help`: the verbs and global flags, in one screen. */

import type { Verb } from "./answer.ts";

const screen = `tripod-runtime: an OCI runtime that runs an image as container or unikernel

Usage: tripod-runtime [GLOBAL FLAGS] COMMAND [FLAGS] [ID] [ARGUMENTS]

Commands:
  create      make a container or unikernel from a bundle
  start       start what was created
  run         create, start and attend
  state       print the state as JSON
  kill        send a signal (default TERM)
  delete      remove what has stopped; --force whatever it does
  list        all containers of the root
  ps          processes of a container, as the host sees them
  exec        another process in a container; refused for a unikernel
  pause       freeze
  resume      go on
  update      change limits
  events      statistics and out-of-memory notices, as JSON lines
  spec        write a config.json that works
  features    what is supported, as JSON
  checkpoint  containers only, by runc
  restore     containers only, by runc
  version     print the version

Global flags:
  --root DIR            state of the containers (default /run/tripod-runtime)
  --log FILE            where failures are told besides stderr
  --log-format FORMAT   text or json
  --systemd-cgroup      cgroupsPath is slice:prefix:name
  --tripod-root DIR     another installation's state (images, networks, facts)
  --tripod-config FILE  another configuration file

Containers are runc's or crun's: every flag of theirs is handed on.
`;

export const help: Verb = async () => {
  process.stdout.write(screen);
};
