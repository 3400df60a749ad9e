/** OCI image layouts (image specification v1.1), as a directory or in an archive. */

import { hexOf } from "../../spec/digest.ts";
import { TripodError } from "../../spec/errors.ts";
import { type Descriptor, decodeIndex, documentKind, maxDocumentBytes } from "../../spec/oci.ts";
import type { ContentSource } from "../ingest.ts";
import { canonicalName, parseReference } from "../../spec/reference.ts";
import { containerdNameKey, refNameKey } from "../store.ts";
import type { FileTree } from "./file-tree.ts";

/** An image of a layout. */
export interface LayoutImage {
  readonly descriptor: Descriptor;
  /** Canonical, or undefined when the layout gives at most a tag. */
  readonly name: string | undefined;
}

/** The images of a layout; undefined when the tree is none. Throws `image-invalid`. */
export async function readLayout(tree: FileTree): Promise<readonly LayoutImage[] | undefined> {
  const marker = await tree.read("oci-layout", 4096);
  const index = await tree.read("index.json", maxDocumentBytes);
  if (marker === undefined || index === undefined) return undefined;
  return decodeIndex(index, `${tree.subject}: index.json`)
    .manifests.filter(({ mediaType }) => documentKind(mediaType) !== undefined)
    .map((descriptor) => ({ descriptor, name: nameOf(descriptor) }));
}

/** containerd's annotation has the full name; the specification's one may be a full name or a mere tag. */
function nameOf({ annotations }: Descriptor): string | undefined {
  const name = annotations?.[containerdNameKey] ?? annotations?.[refNameKey];
  if (name === undefined || !/[/:]/.test(name)) return undefined;
  try {
    return canonicalName(parseReference(name));
  } catch {
    return undefined;
  }
}

/** Where a layout keeps a blob. */
export const blobFile = ({ digest }: Descriptor): string => `blobs/sha256/${hexOf(digest)}`;

/** The content of a layout. */
export function layoutSource(tree: FileTree): ContentSource {
  return {
    subject: tree.subject,
    document: (descriptor) => tree.read(blobFile(descriptor), maxDocumentBytes),
    blob: async (descriptor, offset) => {
      const stream = await tree.stream(blobFile(descriptor), offset);
      if (stream !== undefined) return stream;
      throw new TripodError("image-corrupt", `${tree.subject}: the blob ${descriptor.digest} is missing`, {
        hint: "make the archive again",
      });
    },
  };
}
