/** `WWW-Authenticate` headers (RFC 9110 §11.6.1) as registries send them, and the question to ask a token server. */

export interface Challenge {
  /** Lower case: `basic`, `bearer`. */
  readonly scheme: string;
  /** Names in lower case. */
  readonly parameters: Readonly<Record<string, string>>;
}

const maxHeaderLength = 8192;

/** The challenges of one header value, several of them separated by commas. What cannot be read is left out. */
export function parseChallenges(header: string): readonly Challenge[] {
  const challenges: { scheme: string; parameters: Record<string, string> }[] = [];
  const text = header.slice(0, maxHeaderLength);
  const token = /\s*,?\s*([A-Za-z0-9!#$%&'*+.^_`|~-]+)/y;
  const value = /\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/y;
  for (let at = 0; at < text.length;) {
    token.lastIndex = at;
    const name = token.exec(text)?.[1];
    if (name === undefined) break;
    at = token.lastIndex;
    value.lastIndex = at;
    const match = value.exec(text);
    if (match === null) {
      challenges.push({ scheme: name.toLowerCase(), parameters: {} });
      continue;
    }
    at = value.lastIndex;
    const last = challenges.at(-1);
    if (last !== undefined)
      last.parameters[name.toLowerCase()] = match[1]?.replaceAll(/\\(.)/g, "$1") ?? match[2] ?? "";
  }
  return challenges;
}
