/** IPv4 addresses and subnets as numbers. */

/** The number of a dotted address; undefined when it is none. */
export function ipv4Number(text: string): number | undefined {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9][0-9]{0,2})$/.test(part) && Number(part) < 256))
    return undefined;
  return parts.reduce((sum, part) => sum * 256 + Number(part), 0);
}

export const ipv4Text = (value: number): string =>
  [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join(".");

export interface Ipv4Subnet {
  readonly first: number;
  /** How many addresses. */
  readonly size: number;
}

/** `10.0.0.0/8`, with any address in it; undefined when it is none. */
export function ipv4Subnet(text: string): Ipv4Subnet | undefined {
  const match = /^([0-9.]+)\/([0-9]|[12][0-9]|3[0-2])$/.exec(text);
  const address = ipv4Number(match?.[1] ?? "");
  if (address === undefined) return undefined;
  const size = 2 ** (32 - Number(match?.[2]));
  return { first: Math.floor(address / size) * size, size };
}

/** Whether two subnets share an address. What is no subnet shares none. */
export function subnetsOverlap(a: string, b: string): boolean {
  const [one, other] = [ipv4Subnet(a), ipv4Subnet(b)];
  if (one === undefined || other === undefined) return false;
  return one.first < other.first + other.size && other.first < one.first + one.size;
}
