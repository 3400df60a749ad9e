/** images: what the store holds. */

import { type Store, type StoredReference, openStore } from "../image/store.ts";
import { TripodError } from "../spec/errors.ts";
import { formatBytes } from "../spec/units.ts";
import type { Invocation } from "./command.ts";
import { openContext } from "./context.ts";
import type { ImagesOptions } from "./flags.ts";
import { type ImageDocument, damagedDocument, imageDocument } from "./image-document.ts";
import { printAnswer, printLines } from "./output.ts";
import { findStored } from "./stored-image.ts";
import { ago } from "./sandbox-document.ts";
import { type Column, renderTable } from "./table.ts";

/**
 * Prints every reference; platforms that are named but were not fetched stand in parentheses. An image that cannot be read is listed as
 * damaged, with a note on how to get rid of it; the status is 0 all the same, because the listing is whole.
 */
export async function handle({ options, globals, terminal }: Invocation<ImagesOptions>): Promise<number> {
  const context = await openContext(globals);
  const store = openStore(context.roots.lib);
  const references = store.references();
  if (options.quiet) {
    const digests = new Set(references.map(({ descriptor }) => descriptor.digest));
    printLines(
      terminal,
      [...digests].map((digest) => (options.noTrunc ? digest : shortDigest(digest))),
    );
    return 0;
  }
  const documents = references.map((reference) => documentOf(store, reference));
  for (const document of documents)
    if (document.problem !== null) {
      terminal.note(`tripod: ${document.reference} is damaged: ${document.problem}`);
      terminal.note(`hint: tripod rmi ${forRemoval(store, document)}, then pull or load it again`);
    }
  await printAnswer(terminal, options.output, documents, () =>
    renderTable(terminal, columns(options.noTrunc, Date.now()), documents),
  );
  return 0;
}

/** One damaged image must not hide the others. */
function documentOf(store: Store, reference: StoredReference): ImageDocument {
  try {
    return imageDocument(store, reference);
  } catch (error) {
    if (!(error instanceof TripodError)) throw error;
    return damagedDocument(store, reference, error.message);
  }
}

/** What `rmi` takes: the name, or the digest of one that another tool gave a name that is none. */
const forRemoval = (store: Store, { name, reference, digest }: ImageDocument): string =>
  findStored(store, reference)?.name === name ? reference : shortDigest(digest);

/** As docker shows digests: the first 12 digits. */
export const shortDigest = (digest: string): string => digest.replace(/^sha256:/, "").slice(0, 12);

const columns = (whole: boolean, now: number): readonly Column<ImageDocument>[] => [
  { title: "REFERENCE", cell: ({ reference }) => reference },
  { title: "DIGEST", cell: ({ digest }) => (whole ? digest : shortDigest(digest)) },
  {
    title: "PLATFORMS",
    cell: ({ manifests, problem }) =>
      problem !== null
        ? "damaged"
        : manifests.map(({ platform, stored }) => (stored ? platform : `(${platform})`)).join(", ") || "-",
    ...(whole ? {} : { maxWidth: 60 }),
  },
  { title: "SIZE", align: "right", cell: ({ sizeBytes }) => formatBytes(sizeBytes) },
  {
    title: "CREATED",
    cell: ({ manifests }) => {
      const created = manifests.find((manifest) => manifest.created !== null)?.created ?? null;
      // The epoch is what reproducible builds write for no time at all.
      return created === null || Date.parse(created) === 0 ? "-" : ago(created, now);
    },
  },
];
