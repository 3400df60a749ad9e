/**
 * Builds an image index from a recipe, the same bit for bit from the same files: tars and JSON have one form, all times are
 * SOURCE_DATE_EPOCH (default 0), layers are uncompressed so that no compressor's version shows. One layer an entry.
 *
 * Order of the index: ordinary `linux` images first, so that every tool in the world finds them, then the entries with a monitor's token
 * as `os`, each in the order of the recipe. Every manifest has a config of its own: some pullers confuse manifests that share one.
 */

import { createReadStream, existsSync, readFileSync, realpathSync, statSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { digestOf } from "../spec/digest.ts";
import { TripodError, errnoOf } from "../spec/errors.ts";
import { type Descriptor, mediaTypes } from "../spec/oci.ts";
import { type HostPath, hostPath } from "../spec/paths.ts";
import type { Digest } from "../spec/values.ts";
import { type Recipe, type RecipeFile, type RecipeImage, readRecipe, splitPlatform } from "./recipe.ts";
import { canonicalName, parseReference } from "../spec/reference.ts";
import type { Store } from "./store.ts";
import { type TarFile, writeTar } from "./tar-write.ts";

export interface BuildOptions {
  /** Where the recipe's `from` paths begin. */
  readonly base: HostPath;
  /** Default: the recipe's name. */
  readonly reference?: string;
  /** Seconds since 1970, all times in the image. Default 0. */
  readonly epochSeconds?: number;
}

export interface Built {
  /** Canonical name in the store. */
  readonly name: string;
  readonly digest: Digest;
}

/** Reads the recipe at `path` and builds it. Throws as `readRecipe` and `buildImage`. */
export function buildFromFile(store: Store, path: HostPath, options: BuildOptions): Promise<Built> {
  let json: string;
  try {
    json = readFileSync(path, "utf8");
  } catch (cause) {
    throw new TripodError(
      "config-invalid",
      `the recipe ${path} cannot be read: ${errnoOf(cause) ?? String(cause)}`,
      { cause },
    );
  }
  return buildImage(store, readRecipe(json, path), options);
}

/** Builds the image into the store under its reference. Throws `config-invalid` (a file is missing or outside `base`), `disk-full`. */
export async function buildImage(store: Store, recipe: Recipe, options: BuildOptions): Promise<Built> {
  const name = canonicalName(parseReference(options.reference ?? recipe.name));
  const epoch = options.epochSeconds ?? 0;
  const lease = await store.lease();
  try {
    const entries: Descriptor[] = [];
    const images = inIndexOrder(recipe.images).filter((image) => isWanted(image, options.base));
    if (images.length === 0)
      throw new TripodError("config-invalid", `no image of ${recipe.name} can be built: none has its files`);
    for (const image of images) entries.push(await buildEntry(store, image, options.base, epoch));
    const index = await putJson(store, mediaTypes.index, {
      schemaVersion: 2,
      mediaType: mediaTypes.index,
      manifests: entries,
    });
    await store.tag(name, index);
    return { name, digest: index.digest };
  } finally {
    await lease.release();
  }
}

const isWanted = ({ optional, files }: RecipeImage, base: HostPath): boolean =>
  !optional || files.every(({ from }) => existsSync(join(base, from)));

const isGeneric = (image: RecipeImage): boolean => image.platform.startsWith("linux/");

const inIndexOrder = (images: readonly RecipeImage[]): readonly RecipeImage[] => [
  ...images.filter(isGeneric),
  ...images.filter((image) => !isGeneric(image)),
];

async function buildEntry(
  store: Store,
  image: RecipeImage,
  base: HostPath,
  epoch: number,
): Promise<Descriptor> {
  const layer = await buildLayer(store, image.files, base, epoch);
  const platform = splitPlatform(image.platform, "platform");
  const created = new Date(epoch * 1000).toISOString().replace(".000Z", "Z");
  const labels = { ...recordOf(image.config.Labels), ...image.annotations };
  const config = await putJson(store, mediaTypes.config, {
    ...platform,
    created,
    config: { ...image.config, ...(Object.keys(labels).length === 0 ? {} : { Labels: labels }) },
    rootfs: { type: "layers", diff_ids: [layer.digest] },
    // The platform's name makes configs distinct even where all else is equal.
    history: [{ created, created_by: `tripod build ${image.platform}` }],
  });
  const annotations = Object.keys(image.annotations).length === 0 ? {} : { annotations: image.annotations };
  const manifest = await putJson(store, mediaTypes.manifest, {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config,
    layers: [layer],
    ...annotations,
  });
  return { ...manifest, platform, ...annotations };
}

const recordOf = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null ? { ...value } : {};

async function buildLayer(
  store: Store,
  files: readonly RecipeFile[],
  base: HostPath,
  epoch: number,
): Promise<Descriptor> {
  const writer = await store.begin();
  try {
    for await (const chunk of writeTar(
      files.map((file) => tarFile(file, base)),
      epoch,
    ))
      await writer.write(chunk);
    const written = await writer.commitAny();
    return { mediaType: mediaTypes.layer, ...written };
  } finally {
    await writer.discard();
  }
}

function tarFile(file: RecipeFile, base: HostPath): TarFile {
  const refuse = (why: string, hint?: string): TripodError =>
    new TripodError(
      "config-invalid",
      `${file.from} cannot be put into the image: ${why}`,
      hint === undefined ? {} : { hint },
    );
  const path = normalize(file.to).slice(1);
  if (path === "" || path.endsWith("/")) throw refuse(`${file.to} names no file`);
  let from: string;
  try {
    from = realpathSync(join(base, file.from));
  } catch (error) {
    throw refuse(
      errnoOf(error) === "ENOENT" ? `there is no such file in ${base}` : `${errnoOf(error) ?? String(error)}`,
      "build it first: script/setup",
    );
  }
  if (!from.startsWith(`${realpathSync(base)}/`)) throw refuse(`it is outside ${base}`);
  const stat = statSync(from);
  if (!stat.isFile()) throw refuse(`it is not a regular file in ${dirname(from)}`);
  return {
    path,
    mode: Number.parseInt(file.mode, 8),
    size: stat.size,
    content: () => createReadStream(hostPath(from)),
  };
}

async function putJson(store: Store, mediaType: string, value: unknown): Promise<Descriptor> {
  const bytes = Buffer.from(canonicalJson(value));
  const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.byteLength };
  await store.put(bytes, descriptor, mediaType);
  return descriptor;
}

/** One form for one value: keys in code-unit order, no blanks. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`).join(",")}}`;
}
