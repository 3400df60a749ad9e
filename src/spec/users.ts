/** The user of an image config (`USER` of a Dockerfile) resolved against the image's own passwd(5) and group(5), as docker does. */

import { TripodError } from "./errors.ts";
import type { OciUser } from "./runtime.ts";

/** Contents of the image's `/etc/passwd` and `/etc/group`; empty where it has none. */
export interface UserFiles {
  readonly passwd: string;
  readonly group: string;
}

const maxId = 0xffff_fffe;
/** Lines of either file that are looked at: both come from the image. */
const maxLines = 100_000;

/** An id, or undefined when the text is a name. */
const idOf = (text: string): number | undefined =>
  /^\d{1,10}$/.test(text) && Number(text) <= maxId ? Number(text) : undefined;

const rows = (text: string): string[][] =>
  text
    .split("\n", maxLines)
    .map((line) => line.split(":"))
    .filter((fields) => fields.length >= 3);

const missing = (what: string, name: string): TripodError =>
  new TripodError("image-invalid", `the image has no ${what} ${JSON.stringify(name.slice(0, 80))}`, {
    hint: "--user UID:GID",
  });

/**
 * `user`, `user:group`, `uid`, `uid:gid` or empty (root). A numeric user that passwd does not know has group 0; supplementary groups are those that name the
 * user, unless a group was given. Throws `image-invalid` for a name that the image does not have.
 */
export function resolveUser(spec: string, { passwd, group }: UserFiles): OciUser {
  const [userPart = "", groupPart, ...rest] = spec.split(":");
  if (rest.length > 0) throw missing("user", spec);
  const users = rows(passwd);
  const wantedUid = userPart === "" ? 0 : idOf(userPart);
  const row = users.find(([name, , uid]) =>
    wantedUid === undefined ? name === userPart : uid === `${wantedUid}`,
  );
  const uid = wantedUid ?? idOf(row?.[2] ?? "");
  if (uid === undefined) throw missing("user", userPart);
  const groups = rows(group);
  if (groupPart !== undefined && groupPart !== "") {
    const gid = idOf(groupPart) ?? idOf(groups.find(([name]) => name === groupPart)?.[2] ?? "");
    if (gid === undefined) throw missing("group", groupPart);
    return { uid, gid };
  }
  const gid = idOf(row?.[3] ?? "") ?? 0;
  const name = row?.[0];
  const additional = groups
    .filter(([, , , members]) => name !== undefined && members?.split(",").includes(name) === true)
    .map(([, , id]) => idOf(id ?? ""))
    .filter((id) => id !== undefined);
  return additional.length === 0 ? { uid, gid } : { uid, gid, additionalGids: [...new Set(additional)] };
}
