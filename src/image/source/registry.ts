/** Images from registries. */

import { digestOf, isDigest } from "../../spec/digest.ts";
import { TripodError } from "../../spec/errors.ts";
import {
  type Descriptor,
  decodeIndex,
  decodeManifest,
  documentKind,
  maxDocumentBytes,
  mediaTypes,
} from "../../spec/oci.ts";
import type { ContentSource } from "../ingest.ts";
import { type Reference, familiarName } from "../../spec/reference.ts";
import { type Environment, findCredentials } from "./credentials.ts";
import { readBounded } from "./http-body.ts";
import { Repository, type RepositoryOptions, TransientError } from "./registry-http.ts";

export interface RegistryOptions extends Pick<RepositoryOptions, "plainHttp" | "idleMs" | "backOffMs"> {
  /** Where credentials are looked for; usually `process.env`. */
  readonly environment: Environment;
}

const documentTypes = [
  mediaTypes.index,
  mediaTypes.manifest,
  mediaTypes.dockerIndex,
  mediaTypes.dockerManifest,
];

/**
 * Asks the registry what the reference stands for. Returns the descriptor and the source of its content. Throws `image-not-found`,
 * `registry-denied`, `registry-failed`, `image-corrupt` when the registry gives other bytes than the digest that was asked for.
 */
export async function openRegistry(
  reference: Reference,
  options: RegistryOptions,
  signal: AbortSignal,
): Promise<{ readonly root: Descriptor; readonly source: ContentSource }> {
  const subject = familiarName(reference);
  const repository = new Repository({
    ...options,
    host: reference.host,
    path: reference.path,
    credentials: () => findCredentials(reference.host, reference.path, options.environment),
  });
  const wanted = reference.digest ?? reference.tag ?? "latest";
  const root = await getDocument(repository, wanted, subject, signal);
  const source: ContentSource = {
    subject,
    document: async (descriptor) => {
      if (descriptor.digest === root.descriptor.digest) return root.bytes;
      return (await getDocument(repository, descriptor.digest, subject, signal)).bytes;
    },
    blob: async (descriptor, offset, blobSignal) => {
      const accept = "application/octet-stream, */*;q=0.5";
      const answer = await repository.get(`blobs/${descriptor.digest}`, {
        accept,
        offset,
        signal: blobSignal,
      });
      return skipTo(answer.body, offset - answer.offset, subject);
    },
    retryDelayMs: (error, attempt) => repository.retryDelayMs(error, attempt),
  };
  return { root: root.descriptor, source };
}

async function getDocument(repository: Repository, wanted: string, subject: string, signal: AbortSignal) {
  const answer = await repository.get(`manifests/${wanted}`, { accept: documentTypes.join(", "), signal });
  const bytes = await readBounded(answer.body, maxDocumentBytes, `${subject}: the manifest`);
  const digest = digestOf(bytes);
  if (isDigest(wanted) && digest !== wanted)
    throw new TripodError(
      "image-corrupt",
      `${subject}: the registry gave ${digest} when asked for ${wanted}`,
    );
  const declared = (answer.headers.get("content-type") ?? "").split(";")[0]?.trim() ?? "";
  const mediaType = documentKind(declared) === undefined ? guessType(bytes, subject, declared) : declared;
  const descriptor: Descriptor = { mediaType, digest, size: bytes.byteLength };
  return { descriptor, bytes };
}

/** Some registries forget the content type; then the document says itself what it is. Throws `image-invalid` for schema 1 and the like. */
function guessType(bytes: Uint8Array, subject: string, declared: string): string {
  const readers = [
    () => decodeIndex(bytes, subject).mediaType ?? mediaTypes.index,
    () => decodeManifest(bytes, subject).mediaType ?? mediaTypes.manifest,
  ];
  for (const read of readers)
    try {
      return read();
    } catch {
      // Not this one.
    }
  throw new TripodError(
    "image-invalid",
    `${subject}: the registry gave a document of the unknown type ${JSON.stringify(declared.slice(0, 100))}`,
  );
}

/** Leaves out what was already there, for servers that ignore ranges. */
async function* skipTo(
  body: AsyncIterable<Uint8Array>,
  count: number,
  subject: string,
): AsyncGenerator<Uint8Array> {
  if (count < 0)
    throw new TransientError(`${subject}: the registry answered with another range than asked for`);
  let left = count;
  for await (const chunk of body) {
    const dropped = Math.min(left, chunk.byteLength);
    left -= dropped;
    if (dropped < chunk.byteLength) yield chunk.subarray(dropped);
  }
}
