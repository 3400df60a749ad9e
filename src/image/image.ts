/** The image of a reference as it lies in the store: the documents of its manifests, read once, and what follows from them. */

import { readFileSync, statSync } from "node:fs";
import * as v from "valibot";
import { uruncPrefix } from "../spec/annotations.ts";
import { TripodError } from "../spec/errors.ts";
import {
  type Annotations,
  type Descriptor,
  type ImageConfig,
  type ImageManifest,
  decodeConfig,
  decodeIndex,
  decodeManifest,
  documentKind,
  isImageConfig,
  layerCompression,
} from "../spec/oci.ts";
import { type HostPath, type UntrustedPath, untrustedPath } from "../spec/paths.ts";
import type { Digest } from "../spec/values.ts";
import { findFile } from "./find-file.ts";
import { type UnpackOptions, ensureUnpacked } from "./layers.ts";
import { type Ignored, type OfferSource, type Offers, isNote, platformText, readOffers } from "./offers.ts";
import { canonicalName, familiarName, parseReference } from "../spec/reference.ts";
import type { Store } from "./store.ts";

export { openStore } from "./store.ts";

/** A manifest of an image, with its documents where they are in the store. */
export interface ImageEntry {
  readonly descriptor: Descriptor;
  /** Undefined: left out by the pull, which fetches only what this node can run. */
  readonly documents: { readonly manifest: ImageManifest; readonly config: ImageConfig } | undefined;
}

export interface Image {
  /** For people: `debian:12`. */
  readonly reference: string;
  /** What the reference stands for: an index or a manifest. */
  readonly digest: Digest;
  /** The same, when it is an index. */
  readonly index: Digest | undefined;
  /** In the order of the index, nested indexes in their place. */
  readonly entries: readonly ImageEntry[];
}

const maxNesting = 3;

/** The image in the store, or undefined. Throws `usage` for what is no reference, `image-corrupt`, `image-invalid`. */
export function findImage(store: Store, reference: string): Image | undefined {
  const parsed = parseReference(reference);
  const found = store.find(canonicalName(parsed));
  return found === undefined ? undefined : readImage(store, familiarName(parsed), found.descriptor);
}

/** Reads the documents of an image. Throws `image-corrupt` when one is missing that must be there. */
export function readImage(store: Store, reference: string, descriptor: Descriptor): Image {
  const isIndex = documentKind(descriptor.mediaType) === "index";
  const entries = [...readEntries(store, reference, descriptor, true, maxNesting)];
  return { reference, digest: descriptor.digest, index: isIndex ? descriptor.digest : undefined, entries };
}

function* readEntries(
  store: Store,
  subject: string,
  descriptor: Descriptor,
  isRequired: boolean,
  depth: number,
): Generator<ImageEntry> {
  const kind = documentKind(descriptor.mediaType);
  // Unknown media types in an index are for others: the specification says to ignore them.
  if (kind === undefined) return;
  const bytes = store.readDocument(descriptor, `${kind} ${descriptor.digest} of ${subject}`);
  if (bytes === undefined) {
    if (isRequired) throw missingDocument(subject, kind, descriptor.digest);
    if (kind === "manifest") yield { descriptor, documents: undefined };
    return;
  }
  if (kind === "index") {
    if (depth === 0) throw new TripodError("image-invalid", `${subject}: indexes are nested too deep`);
    for (const entry of decodeIndex(bytes, `index of ${subject}`).manifests)
      yield* readEntries(store, subject, entry, false, depth - 1);
    return;
  }
  const manifest = decodeManifest(bytes, `manifest of ${subject}`);
  // An artifact's config need not be an image config; it is no offer, but it makes nothing else unreadable.
  if (isNote(descriptor) || !isImageConfig(manifest.config.mediaType))
    return yield { descriptor, documents: undefined };
  const configBytes = store.readDocument(manifest.config, `config of ${subject}`);
  if (configBytes === undefined) throw missingDocument(subject, "config", manifest.config.digest);
  yield { descriptor, documents: { manifest, config: decodeConfig(configBytes, `config of ${subject}`) } };
}

const missingDocument = (subject: string, kind: string, digest: Digest): TripodError =>
  new TripodError("image-corrupt", `${subject}: the ${kind} ${digest} is not in the store`, {
    hint: "pull or load the image again",
  });

/** The documents of one of the image's manifests. Throws `bug` when it is none of them or was not pulled. */
export function documentsOf(
  image: Image,
  manifest: Digest,
): { manifest: ImageManifest; config: ImageConfig } {
  const entry = image.entries.find(({ descriptor }) => descriptor.digest === manifest);
  if (entry?.documents !== undefined) return entry.documents;
  throw new TripodError("bug", `${image.reference} has no manifest ${manifest} in the store`);
}

/** The config of one of the image's manifests. Throws as `documentsOf`. */
export const configOf = (image: Image, manifest: Digest): ImageConfig => documentsOf(image, manifest).config;

/** Unpacks a manifest's layers where needed: the overlayfs lowers, topmost first. Throws as `ensureUnpacked`. */
export function lowersOf(
  store: Store,
  image: Image,
  manifest: Digest,
  options: UnpackOptions,
): Promise<readonly HostPath[]> {
  const documents = documentsOf(image, manifest);
  return ensureUnpacked(store, image.reference, documents.manifest, documents.config, options);
}

/**
 * What the image offers. To see an image's `/urunc.json` its layers must be unpacked: this is done for manifests that nothing else tells
 * about, so the first look at an ordinary image may take as long as its unpacking. The caller holds a lease of the store.
 */
export async function offersOf(
  store: Store,
  image: Image,
  options: UnpackOptions & { readonly annotations?: Annotations },
): Promise<Offers> {
  const sources: OfferSource[] = [];
  const ignored: Ignored[] = [];
  for (const { descriptor, documents } of image.entries) {
    if (documents === undefined) {
      if (!isNote(descriptor))
        ignored.push({
          manifest: descriptor.digest,
          platform: platformText(descriptor, undefined),
          because: "it is for another machine and was not pulled",
        });
      continue;
    }
    const source = { descriptor, ...documents };
    const uruncJson = needsUruncJson(source, options.annotations)
      ? readUruncJson(await lowersOf(store, image, descriptor.digest, options), image.reference)
      : undefined;
    sources.push(uruncJson === undefined ? source : { ...source, uruncJson });
  }
  const read = readOffers(sources, options.annotations);
  return { offers: read.offers, ignored: [...read.ignored, ...ignored] };
}

/** Only a manifest that is a plain container by all else can have a say in `/urunc.json`. */
function needsUruncJson(source: OfferSource, annotations: Annotations | undefined): boolean {
  const [offer] = readOffers([source], annotations).offers;
  if (offer?.mode !== "container") return false;
  const isSaid = [
    annotations,
    source.descriptor.annotations,
    source.manifest.annotations,
    source.config.config?.Labels,
  ];
  if (isSaid.some((place) => place?.["dev.tripod.mode"] !== undefined)) return false;
  return source.manifest.layers.every((layer) => layerCompression(layer.mediaType) !== undefined);
}

const maxUruncJsonBytes = 256 * 1024;
const uruncJsonSchema = v.record(v.pipe(v.string(), v.maxLength(1024)), v.unknown());

/** `/urunc.json` of an unpacked root file system; undefined when there is none. Throws `annotation-invalid` when it is not understood. */
export function readUruncJson(lowers: readonly HostPath[], subject: string): Annotations | undefined {
  const path = findFile(lowers, untrustedPath("/urunc.json"));
  if (path === undefined) return undefined;
  const refuse = (why: string): TripodError =>
    new TripodError("annotation-invalid", `urunc.json of ${subject} ${why}`);
  if (statSync(path).size > maxUruncJsonBytes) throw refuse(`is larger than ${maxUruncJsonBytes} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, "utf8"));
  } catch {
    throw refuse("is not JSON");
  }
  const result = v.safeParse(uruncJsonSchema, value);
  if (!result.success || Array.isArray(value)) throw refuse("is not an object of strings");
  const [odd] = Object.entries(result.output).find(
    ([key, each]) => key.startsWith(uruncPrefix) && typeof each !== "string",
  ) ?? [undefined];
  // Passed over it would make a unikernel a container.
  if (odd !== undefined) throw refuse(`has a ${odd} that is not a string`);
  return Object.fromEntries(
    Object.entries(result.output).filter((pair): pair is [string, string] => typeof pair[1] === "string"),
  );
}

/** A kernel or initrd of an image, in its unpacked layers. Throws `kernel-invalid` when it is not a regular file of the image. */
export function fileOfImage(lowers: readonly HostPath[], path: UntrustedPath, subject: string): HostPath {
  const found = findFile(lowers, path);
  if (found !== undefined) return found;
  throw new TripodError(
    "kernel-invalid",
    `${subject}: ${JSON.stringify(path)} is not a regular file of the image`,
    {
      hint: "look at dev.tripod.kernel and dev.tripod.initrd, or urunc's binary and initrd, in the image's metadata",
    },
  );
}
