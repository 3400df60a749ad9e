/** Name resolution: resolv.conf(5) read and written. */

export interface DnsConfig {
  readonly servers: readonly string[];
  readonly search: readonly string[];
  readonly options: readonly string[];
}

export const noDns: DnsConfig = { servers: [], search: [], options: [] };

/** glibc looks at no more than this many, and six search domains. */
const maxServers = 3;
const maxSearch = 6;

const isWord = (word: string): boolean => /^[\x21-\x7e]{1,255}$/.test(word);

/** Reads a resolv.conf; what is not understood is left out. The last `search` or `domain` line wins, as in glibc. */
export function parseResolvConf(text: string): DnsConfig {
  const servers: string[] = [];
  const options: string[] = [];
  let search: string[] = [];
  for (const line of text.slice(0, 65_536).split("\n")) {
    const [key, ...words] = line
      .replace(/[#;].*/, "")
      .trim()
      .split(/\s+/)
      .filter(isWord);
    if (key === "nameserver" && words[0] !== undefined) servers.push(words[0]);
    else if (key === "search" || key === "domain") search = words;
    else if (key === "options") options.push(...words);
  }
  return { servers, search, options };
}

/** A loopback address means the host's own resolver, which no sandbox reaches. */
export const isLoopback = (server: string): boolean => server.startsWith("127.") || server === "::1";

/** What a sandbox is told: the network's own name servers, or else the host's that are not on its loopback. */
export function effectiveDns(
  own: { readonly servers: readonly string[]; readonly search: readonly string[] } | undefined,
  host: DnsConfig,
): DnsConfig {
  const config = own !== undefined && own.servers.length > 0 ? { ...own, options: [] } : host;
  return {
    servers: config.servers.filter((server) => isWord(server) && !isLoopback(server)).slice(0, maxServers),
    search: config.search.filter(isWord).slice(0, maxSearch),
    options: config.options.filter(isWord),
  };
}

export function formatResolvConf({ servers, search, options }: DnsConfig): string {
  const lines = servers.map((server) => `nameserver ${server}`);
  if (search.length > 0) lines.push(`search ${search.join(" ")}`);
  if (options.length > 0) lines.push(`options ${options.join(" ")}`);
  return lines.map((line) => `${line}\n`).join("");
}

/** `/etc/hosts` of a sandbox: the loopback names and its own addresses under its host name. */
export function formatHosts(hostname: string, addresses: readonly string[]): string {
  return [
    "127.0.0.1\tlocalhost",
    "::1\tlocalhost ip6-localhost ip6-loopback",
    ...(addresses.length > 0 ? addresses : ["127.0.1.1"]).map((address) => `${address}\t${hostname}`),
    "",
  ].join("\n");
}
