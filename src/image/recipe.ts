/** Recipes of images (`tripod.json`): which files and settings make up each of an image's ways to run. */

import * as v from "valibot";
import { readOwn } from "../spec/annotations.ts";
import { TripodError } from "../spec/errors.ts";
import { nearest } from "../spec/nearest.ts";
import { normalArch } from "../spec/oci.ts";
import type { Arch } from "../spec/values.ts";
import { monitorOfToken } from "./offers.ts";

export interface Recipe {
  readonly version: 1;
  /** Reference that the image gets unless the caller says another. */
  readonly name: string;
  readonly images: readonly RecipeImage[];
}

export interface RecipeImage {
  /** `linux/amd64`, or a monitor's token and the architecture: `spt/amd64`. */
  readonly platform: string;
  readonly files: readonly RecipeFile[];
  /** Settings of the image config, names as in the OCI specification. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Left out where one of its files does not exist, as those for another architecture may. Default false: that is an error. */
  readonly optional: boolean;
  /** Our own and urunc's metadata: written to the index entry, the manifest and the config's labels. */
  readonly annotations: Readonly<Record<string, string>>;
}

export interface RecipeFile {
  /** Relative to the directory that the build is given, which it must not leave. */
  readonly from: string;
  /** Absolute path in the image. */
  readonly to: string;
  /** Octal; default 0644. */
  readonly mode: string;
}

const text = v.pipe(v.string(), v.minLength(1), v.maxLength(4096));
const texts = v.array(v.string());
const objects = v.record(v.string(), v.strictObject({}));
const strings = v.record(v.string(), v.string());

const configEntries = {
  User: v.exactOptional(v.string()),
  ExposedPorts: v.exactOptional(objects),
  Env: v.exactOptional(texts),
  Entrypoint: v.exactOptional(texts),
  Cmd: v.exactOptional(texts),
  Volumes: v.exactOptional(objects),
  WorkingDir: v.exactOptional(v.string()),
  Labels: v.exactOptional(strings),
  StopSignal: v.exactOptional(v.string()),
};

const fileEntries = {
  from: text,
  to: v.pipe(text, v.regex(/^\/[^\0]*$/, "not an absolute path")),
  mode: v.optional(v.pipe(v.string(), v.regex(/^[0-7]{3,4}$/, "not an octal mode such as 0755")), "0644"),
};

const imageEntries = {
  platform: v.pipe(text, v.regex(/^[a-z0-9._-]+\/[a-z0-9._-]+$/, "not os/architecture")),
  files: v.pipe(v.array(v.strictObject(fileEntries)), v.minLength(1, "an image needs at least one file")),
  config: v.optional(v.strictObject(configEntries), {}),
  annotations: v.optional(strings, {}),
  optional: v.optional(v.boolean(), false),
};

const recipeEntries = {
  version: v.literal(1),
  name: text,
  images: v.pipe(v.array(v.strictObject(imageEntries)), v.minLength(1, "a recipe needs at least one image")),
};

const recipeSchema = v.strictObject(recipeEntries);
const knownKeys = [recipeEntries, imageEntries, fileEntries, configEntries].flatMap((entries) =>
  Object.keys(entries),
);

/** Reads a recipe. Throws `config-invalid`, naming `subject`, the field and, for an unknown one, the nearest known one. */
export function readRecipe(json: string, subject: string): Recipe {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new TripodError("config-invalid", `${subject} is not JSON: ${why}`, { cause });
  }
  const result = v.safeParse(recipeSchema, value, { abortEarly: true });
  if (!result.success) {
    const [issue] = result.issues;
    const path = v.getDotPath(issue);
    const isUnknownKey = issue.type === "strict_object" && issue.expected === "never";
    const key = path?.split(".").at(-1) ?? "";
    throw new TripodError(
      "config-invalid",
      `${subject}: ${path === null ? "" : `${path}: `}${isUnknownKey ? "this key is not known" : issue.message}`,
      isUnknownKey ? { hint: `did you mean ${nearest(key, knownKeys)}?` } : {},
    );
  }
  const recipe = result.output;
  for (const [index, image] of recipe.images.entries()) {
    splitPlatform(image.platform, `${subject}: images.${index}.platform`);
    readOwn(image.annotations, `${subject}: images.${index}.annotations`);
  }
  return recipe;
}

/** Throws `config-invalid` for a platform that nothing here could run. */
export function splitPlatform(
  platform: string,
  subject: string,
): { readonly os: string; readonly architecture: Arch } {
  const [os = "", spelling = ""] = platform.split("/");
  const architecture = normalArch(spelling);
  if (architecture !== undefined && (os === "linux" || monitorOfToken(os) !== undefined))
    return { os, architecture };
  throw new TripodError("config-invalid", `${subject}: ${JSON.stringify(platform)} is not known`, {
    hint: "the os is linux or a monitor (hvt, spt, qemu, firecracker), the architecture amd64 or arm64",
  });
}
