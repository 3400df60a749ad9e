/**
 * One repository of a registry over HTTP (distribution specification v1.1, the reading side): credentials and tokens, redirects, deadlines,
 * repetition with back-off. Authorization goes to the registry's own origin and to its token server only, never along a redirect.
 */

import { setTimeout as sleep } from "node:timers/promises";
import * as v from "valibot";
import { TripodError } from "../../spec/errors.ts";
import { type Challenge, parseChallenges } from "./challenge.ts";
import type { Credentials } from "./credentials.ts";
import {
  contentRangeStart,
  errorText,
  parseJson,
  readBounded,
  readRetryAfter,
  reasonOf,
} from "./http-body.ts";

export interface RepositoryOptions {
  /** `docker.io`, `localhost:5000`. */
  readonly host: string;
  /** `library/debian`. */
  readonly path: string;
  /** Plain http. Default: only for this machine itself (localhost, 127.0.0.0/8, ::1). */
  readonly plainHttp?: boolean;
  /** Asked once, when the registry wants credentials. */
  readonly credentials: () => Promise<Credentials | undefined>;
  /** Milliseconds until an answer must begin, and between two pieces of it. Default 30 s. */
  readonly idleMs?: number;
  /** Milliseconds before the first repetition; doubled each time. Default 500. */
  readonly backOffMs?: number;
}

export interface Get {
  readonly accept: string;
  /** First byte wanted; the answer may still begin at 0, see `Answer.offset`. */
  readonly offset?: number;
  readonly signal: AbortSignal;
}

export interface Answer {
  readonly headers: Headers;
  /** The byte at which the body begins. */
  readonly offset: number;
  readonly body: AsyncIterable<Uint8Array>;
}

const attempts = 4;
const maxRedirects = 5;
const maxTokenBytes = 1 << 20;
const maxRetryAfterMs = 60_000;
const transientStatus: readonly number[] = [408, 425, 429, 499, 500, 502, 503, 504, 522];

/** A failure that may pass: the network's, or a status that says so. */
export class TransientError extends TripodError {
  /** What the registry asked to wait. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, retryAfterMs?: number, cause?: unknown) {
    super("registry-failed", message, { hint: "try again later, or look at the registry", cause });
    this.retryAfterMs = retryAfterMs;
  }
}

/** Whether plain http is right without being asked for. */
export function isLocalHost(host: string): boolean {
  const name = host.replace(/:[0-9]+$/, "");
  return (
    name === "localhost" ||
    name.endsWith(".localhost") ||
    name === "[::1]" ||
    /^127(?:\.[0-9]{1,3}){3}$/.test(name)
  );
}

export class Repository {
  readonly name: string;
  readonly #base: URL;
  readonly #options: RepositoryOptions;
  #authorization: string | undefined;
  /** One authentication at a time serves all transfers. */
  #authenticating: Promise<void> | undefined;

  constructor(options: RepositoryOptions) {
    this.#options = options;
    this.name = `${options.host}/${options.path}`;
    const isPlain = options.plainHttp ?? isLocalHost(options.host);
    const host = options.host === "docker.io" ? "registry-1.docker.io" : options.host;
    this.#base = new URL(`${isPlain ? "http" : "https"}://${host}/v2/${options.path}/`);
  }

  /**
   * GET of a path in the repository (`manifests/…`, `blobs/…`). Throws `image-not-found` (404), `registry-denied` (401, 403),
   * `registry-failed`.
   */
  async get(path: string, get: Get): Promise<Answer> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#getAuthorized(new URL(path, this.#base), get);
      } catch (error) {
        const delayMs = this.retryDelayMs(error, attempt);
        if (delayMs === undefined || get.signal.aborted) throw error;
        await sleep(delayMs, undefined, { signal: get.signal });
      }
    }
  }

  /** Milliseconds before the nth repetition after this error; undefined when it is of no use. */
  retryDelayMs(error: unknown, attempt: number): number | undefined {
    if (!(error instanceof TransientError) || attempt >= attempts) return undefined;
    const backOffMs = (this.#options.backOffMs ?? 500) * 2 ** (attempt - 1) * (0.9 + Math.random() * 0.2);
    return Math.max(backOffMs, Math.min(error.retryAfterMs ?? 0, maxRetryAfterMs));
  }

  async #getAuthorized(url: URL, get: Get): Promise<Answer> {
    const used = this.#authorization;
    let response = await this.#follow(url, get);
    if (response.status === 401) {
      const challenges = parseChallenges(response.headers.get("www-authenticate") ?? "");
      await response.discard();
      // Another transfer may have got a token meanwhile.
      if (this.#authorization === used) await this.#authenticateOnce(challenges, get.signal);
      response = await this.#follow(url, get);
    }
    if (response.status === 200 || response.status === 206) {
      const offset = response.status === 206 ? contentRangeStart(response.headers) : 0;
      return { headers: response.headers, offset, body: response.body };
    }
    throw await this.#failure(url, response);
  }

  /** Follows redirects by hand, so that Authorization stays with our origin and https is never left. */
  async #follow(start: URL, get: Get): Promise<HttpResponse> {
    let url = start;
    for (let hop = 0; hop <= maxRedirects; hop++) {
      const headers: Record<string, string> = { accept: get.accept, "accept-encoding": "identity" };
      if (get.offset !== undefined && get.offset > 0) headers.range = `bytes=${get.offset}-`;
      if (this.#authorization !== undefined && url.origin === this.#base.origin)
        headers.authorization = this.#authorization;
      const response = await this.#fetch(url, { headers }, get.signal);
      const location = response.headers.get("location");
      if (response.status < 300 || response.status > 399 || location === null) return response;
      await response.discard();
      const next = URL.canParse(location, url.href) ? new URL(location, url.href) : undefined;
      const isSound =
        next?.protocol === "https:" || (next?.protocol === "http:" && this.#base.protocol === "http:");
      if (next === undefined || !isSound)
        throw new TripodError(
          "registry-failed",
          `${this.name}: refused the redirect from ${url.host} to ${location.slice(0, 200)}`,
        );
      url = next;
    }
    throw new TripodError("registry-failed", `${this.name}: more than ${maxRedirects} redirects`);
  }

  async #authenticateOnce(challenges: readonly Challenge[], signal: AbortSignal): Promise<void> {
    this.#authenticating ??= this.#authenticate(challenges, signal).finally(() => {
      this.#authenticating = undefined;
    });
    await this.#authenticating;
  }

  async #authenticate(challenges: readonly Challenge[], signal: AbortSignal): Promise<void> {
    const credentials = await this.#options.credentials();
    const bearer = challenges.find(({ scheme }) => scheme === "bearer");
    if (bearer !== undefined) {
      this.#authorization = `Bearer ${await this.#token(bearer, credentials, signal)}`;
      return;
    }
    if (
      challenges.some(({ scheme }) => scheme === "basic") &&
      credentials !== undefined &&
      "user" in credentials
    ) {
      this.#authorization = basic(credentials);
      return;
    }
    throw this.#denied(
      credentials === undefined
        ? "it wants credentials and none are configured"
        : "it refused the credentials",
    );
  }

  /** The token flow: what the registry's challenge says is asked of its token server. */
  async #token(
    challenge: Challenge,
    credentials: Credentials | undefined,
    signal: AbortSignal,
  ): Promise<string> {
    const { realm = "", service, scope } = challenge.parameters;
    const url = URL.canParse(realm) ? new URL(realm) : undefined;
    // The realm is the registry's word: our credentials go there only encrypted, or in the clear to the same machine as the registry itself.
    const isSound =
      url?.protocol === "https:" ||
      (url?.protocol === "http:" && this.#base.protocol === "http:" && url.hostname === this.#base.hostname);
    if (url === undefined || !isSound)
      throw new TripodError(
        "registry-failed",
        `${this.name}: refused the token server ${JSON.stringify(realm.slice(0, 200))}`,
      );
    const wanted = scope ?? `repository:${this.#options.path}:pull`;
    const init: RequestInit = { headers: { accept: "application/json", "accept-encoding": "identity" } };
    if (credentials !== undefined && "identityToken" in credentials) {
      const form = {
        grant_type: "refresh_token",
        refresh_token: credentials.identityToken,
        client_id: "tripod",
        scope: wanted,
      };
      init.method = "POST";
      init.body = new URLSearchParams(service === undefined ? form : { ...form, service });
    } else {
      if (service !== undefined) url.searchParams.set("service", service);
      url.searchParams.set("scope", wanted);
      if (credentials !== undefined) init.headers = { ...init.headers, authorization: basic(credentials) };
    }
    const response = await this.#fetch(url, init, signal);
    if (response.status === 401 || response.status === 403) {
      await response.discard();
      throw this.#denied(
        credentials === undefined ? "it gives no token without credentials" : "it refused the credentials",
      );
    }
    if (response.status !== 200) throw await this.#failure(url, response);
    const bytes = await readBounded(response.body, maxTokenBytes, `${this.name}: the token server's answer`);
    const answer = v.safeParse(tokenSchema, parseJson(bytes));
    const token = answer.success ? (answer.output.token ?? answer.output.access_token) : undefined;
    if (token === undefined || !/^[\x21-\x7e]+$/.test(token))
      throw new TripodError("registry-failed", `${this.name}: the token server ${url.host} gave no token`);
    return token;
  }

  async #fetch(url: URL, init: RequestInit, signal: AbortSignal): Promise<HttpResponse> {
    const idleMs = this.#options.idleMs ?? 30_000;
    const idle = new AbortController();
    const restart = (): NodeJS.Timeout => setTimeout(() => idle.abort(), idleMs);
    let timer = restart();
    const explain = (cause: unknown): unknown => {
      if (signal.aborted) return signal.reason;
      if (idle.signal.aborted)
        return new TransientError(
          `${this.name}: ${url.host} said nothing for ${idleMs} ms`,
          undefined,
          cause,
        );
      return new TransientError(
        `${this.name}: ${url.host} could not be reached: ${reasonOf(cause)}`,
        undefined,
        cause,
      );
    };
    let response: Response;
    try {
      response = await fetch(url, {
        ...init,
        redirect: "manual",
        signal: AbortSignal.any([signal, idle.signal]),
      });
    } catch (cause) {
      clearTimeout(timer);
      throw explain(cause);
    }
    const read = async function* (): AsyncGenerator<Uint8Array> {
      try {
        for await (const chunk of response.body ?? []) {
          clearTimeout(timer);
          yield chunk;
          timer = restart();
        }
      } catch (cause) {
        throw explain(cause);
      } finally {
        clearTimeout(timer);
      }
    };
    return {
      status: response.status,
      headers: response.headers,
      body: read(),
      discard: async () => {
        clearTimeout(timer);
        await response.body?.cancel();
      },
    };
  }

  async #failure(url: URL, response: HttpResponse): Promise<TripodError> {
    const { status } = response;
    const said = await errorText(response.body);
    const message = `${this.name}: ${url.host} answered ${status}${said === "" ? "" : `: ${said}`}`;
    if (transientStatus.includes(status))
      return new TransientError(message, readRetryAfter(response.headers));
    if (status === 404)
      return new TripodError("image-not-found", message, { hint: "look at the name and the tag" });
    if (status === 401 || status === 403) return this.#denied(said === "" ? `status ${status}` : said);
    return new TripodError("registry-failed", message);
  }

  #denied(why: string): TripodError {
    return new TripodError("registry-denied", `${this.name}: the registry did not allow it: ${why}`, {
      hint: `look at the name, or log in, e.g. docker login ${this.#options.host === "docker.io" ? "" : this.#options.host}`.trimEnd(),
    });
  }
}

interface HttpResponse {
  readonly status: number;
  readonly headers: Headers;
  readonly body: AsyncIterable<Uint8Array>;
  discard(): Promise<void>;
}

const tokenSchema = v.object({ token: v.optional(v.string()), access_token: v.optional(v.string()) });

const basic = (credentials: { readonly user: string; readonly password: string }): string =>
  `Basic ${Buffer.from(`${credentials.user}:${credentials.password}`).toString("base64")}`;
