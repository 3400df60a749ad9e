/**
 * Boot lines from templates. A template is words separated by single or more blanks; a word may hold placeholders in braces. A word with a placeholder
 * that has no value here (no IPv6, no gateway, no arguments) is dropped whole, so `gateway={gateway4}` vanishes on a network without
 * one. `{args}` and `{env}` stand for lists and may only be words of their own. `{{` and `}}` are literal braces.
 */

import { TripodError } from "../spec/errors.ts";
import type { NetFacts } from "../spec/protocol.ts";

/** What placeholders can say. */
export interface BootValues {
  readonly args: readonly string[];
  /** `NAME=value` each. */
  readonly env: readonly string[];
  readonly hostname: string;
  readonly monitor: string;
  /** Undefined: the sandbox has no network. */
  readonly net: NetFacts | undefined;
}

export const placeholders = [
  "ipv4",
  "address4",
  "prefix4",
  "netmask4",
  "gateway4",
  "ipv6",
  "address6",
  "prefix6",
  "gateway6",
  "dns",
  "mac",
  "mtu",
  "hostname",
  "monitor",
  "args",
  "env",
] as const;
export type Placeholder = (typeof placeholders)[number];

const isPlaceholder = (name: string): name is Placeholder =>
  (placeholders as readonly string[]).includes(name);

/** A template read: each word a list of literal texts and placeholders. */
type Part = { readonly text: string } | { readonly name: Placeholder };
type Word = readonly Part[];

function readWord(word: string): Word {
  const parts: Part[] = [];
  for (const [token, name] of word.matchAll(/\{\{|\}\}|\{([^{}]*)\}|[^{}]+|[{}]/g)) {
    if (name !== undefined) {
      if (!isPlaceholder(name))
        throw new TripodError("annotation-invalid", `boot line: {${name.slice(0, 40)}} is no placeholder`, {
          hint: `known: ${placeholders.map((known) => `{${known}}`).join(" ")}; a literal brace is written twice`,
        });
      parts.push({ name });
    } else if (token === "{" || token === "}") {
      throw new TripodError(
        "annotation-invalid",
        `boot line: unpaired ${token} in ${JSON.stringify(word.slice(0, 60))}`,
        { hint: "write a literal brace twice" },
      );
    } else parts.push({ text: token === "{{" ? "{" : token === "}}" ? "}" : token });
  }
  const list = parts.find((part) => "name" in part && (part.name === "args" || part.name === "env"));
  if (list !== undefined && parts.length > 1)
    throw new TripodError(
      "annotation-invalid",
      `boot line: {args} and {env} must be words of their own, not part of ${JSON.stringify(word.slice(0, 60))}`,
    );
  return parts;
}

/** IPv4 netmask of a prefix length, dotted. */
export function netmask4(prefix: number): string {
  const mask = prefix === 0 ? 0 : (0xffff_ffff << (32 - prefix)) >>> 0;
  return [24, 16, 8, 0].map((shift) => (mask >>> shift) & 255).join(".");
}

type Values = Readonly<Record<Placeholder, readonly string[]>>;

const some = <T>(value: T | undefined, show: (value: T) => string): readonly string[] =>
  value === undefined ? [] : [show(value)];
const asIs = (text: string): string => text;

/** The first interface with its first address of each family is the guest's; a placeholder without value is an empty list. */
function valuesOf({ args, env, hostname, monitor, net }: BootValues): Values {
  const nic = net?.interfaces[0];
  const address = (family: "ipv4" | "ipv6") => nic?.addresses.find((entry) => entry.family === family);
  const gateway = (destination: string) =>
    net?.routes.find((route) => route.destination === destination && route.interface === nic?.name)?.gateway;
  const v4 = address("ipv4");
  const v6 = address("ipv6");
  const dns = net?.dns.servers ?? [];
  return {
    args,
    env,
    hostname: [hostname],
    monitor: [monitor],
    ipv4: some(v4, (entry) => `${entry.address}/${entry.prefix}`),
    address4: some(v4, (entry) => entry.address),
    prefix4: some(v4, (entry) => `${entry.prefix}`),
    netmask4: some(v4, (entry) => netmask4(entry.prefix)),
    gateway4: some(gateway("0.0.0.0/0"), asIs),
    ipv6: some(v6, (entry) => `${entry.address}/${entry.prefix}`),
    address6: some(v6, (entry) => entry.address),
    prefix6: some(v6, (entry) => `${entry.prefix}`),
    gateway6: some(gateway("::/0"), asIs),
    dns: dns.length === 0 ? [] : [dns.join(",")],
    mac: some(nic, (entry) => entry.mac),
    mtu: some(nic, (entry) => `${entry.mtu}`),
  };
}

/** A boot line is split at blanks by whoever reads it, so a value with a blank or control character in it cannot be said. */
function checkSayable(value: string, what: string): void {
  if (value === "") throw unsayable(what, "an empty value");
  for (const character of value) {
    const code = character.codePointAt(0) ?? 0;
    if (code <= 0x20 || code === 0x7f)
      throw unsayable(
        what,
        code === 0x20 ? "a blank" : `the character U+${code.toString(16).padStart(4, "0")}`,
      );
  }
}

const unsayable = (what: string, why: string): TripodError =>
  new TripodError("usage", `${what} has ${why}, which a guest's boot line cannot carry`, {
    hint: "encode the value in a way the guest understands, or run the image with --mode container",
  });

/**
 * Expands a template. Throws `annotation-invalid` for an unknown placeholder or a brace without its pair, and `usage` for an argument or variable
 * that the line cannot carry or when the line is longer than `maxBytes` (UTF-8): nothing is ever truncated.
 */
export function expandBootLine(template: string, values: BootValues, maxBytes: number): string {
  const known = valuesOf(values);
  const words = template
    .split(/[ \t\n]+/)
    .filter((word) => word !== "")
    .map(readWord)
    .flatMap((word) => expandWord(word, known));
  return checkedLine(words.join(" "), maxBytes);
}

/** The line as it is. Throws `usage` when it is longer than `maxBytes` (UTF-8). */
export function checkedLine(line: string, maxBytes: number): string {
  const length = Buffer.byteLength(line);
  if (length > maxBytes)
    throw new TripodError(
      "usage",
      `the guest's boot line is ${length} bytes long, ${maxBytes} is the most it can be`,
      { hint: "give fewer or shorter arguments and variables" },
    );
  return line;
}

function expandWord(word: Word, values: Values): readonly string[] {
  const [only] = word;
  if (
    word.length === 1 &&
    only !== undefined &&
    "name" in only &&
    (only.name === "args" || only.name === "env")
  ) {
    const list = values[only.name];
    for (const [index, value] of list.entries())
      checkSayable(
        value,
        only.name === "args" ? `argument ${index + 1}` : `the variable ${value.split("=")[0] ?? ""}`,
      );
    return list;
  }
  let text = "";
  for (const part of word) {
    if ("text" in part) text += part.text;
    else {
      const [value] = values[part.name];
      if (value === undefined) return [];
      checkSayable(value, `{${part.name}}`);
      text += value;
    }
  }
  return [text];
}
