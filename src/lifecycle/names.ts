/** Names for sandboxes that nobody named. */

/** The image's own name and a few digits of the id: `httpreply-3f2a9c`. */
export function madeUpName(reference: string, id: string): string {
  const path = reference.split("@")[0] ?? "";
  const last = path.slice(path.lastIndexOf("/") + 1).split(":")[0] ?? "";
  const plain = last.replaceAll(/[^a-zA-Z0-9_.-]/g, "-").replace(/^[^a-zA-Z0-9]+/, "");
  return `${(plain === "" ? "sandbox" : plain).slice(0, 48)}-${id.slice(0, 6)}`;
}
