/**
 * What the hub says about a repository: which commit a revision is, which GGUF files it has, what their bytes are; and the
 * bytes themselves. Scope: requests, redirects, and errors in words. The token goes to the hub alone.
 */
import * as z from "zod";
import type { HubSettings } from "../environment.js";
import { InputError, RefusedError, ServerError, UnreachableError } from "../errors.js";
import { parseJson } from "../json.js";
import { failureReason } from "../transfer.js";
import { isPart } from "./gguf.js";
import type { HubWeights } from "./table.js";

/** Milliseconds until an answer must begin. */
const patience = 30_000;
/** Bytes of a page about a repository. */
const longestPage = 2 ** 26;

/** Whether a revision is a commit, which never becomes another. */
export const isCommit = (revision: string) => /^[0-9a-f]{40}$/.test(revision);

/** Whether a path in a repository is that of a GGUF file, and leads nowhere else. */
export const isFile = (path: string) =>
  /^[^\p{Cc}\\]+\.gguf$/iu.test(path) && path.split("/").every((name) => !["", ".", ".."].includes(name));

/** How a run records it. */
export const hubSource = (repo: string, commit: string, file: string): string => `hf://${repo}@${commit}/${file}`;

/** A file that was looked up. */
export interface HubFile {
  file: string;
  commit: string;
  /** null for a file that the hub gives no SHA-256 of. */
  sha256: string | null;
  bytes: number | null;
}

/** A repository at the hub. */
export type Hub = ReturnType<typeof hubAt>;

/** A repository at the hub. @throws InputError for an address or a token that cannot be one */
export function hubAt({ endpoint, token }: HubSettings, repo: string) {
  if (!URL.canParse(endpoint) || !/^https?:$/.test(new URL(endpoint).protocol))
    throw new InputError(`HF_ENDPOINT must be an address such as https://huggingface.co, not "${endpoint}"`);
  const base = new URL(endpoint);
  if (base.username !== "" || base.password !== "")
    throw new InputError("HF_ENDPOINT holds a name or a password; take it out, and give a token in HF_TOKEN");
  // An error of Node.js about the header would show it.
  if (token !== null && !/^[\x21-\x7e]+$/.test(token))
    throw new InputError("HF_TOKEN holds characters that are in no token; copy it again");

  /** Asks, and follows redirects by hand: the token goes to the hub alone, not to where it keeps its files. */
  const ask = async (address: string, asking: { method?: "HEAD"; from?: number; what: string }) => {
    const { method = "GET", from = 0, what } = asking;
    let url = new URL(address);
    for (let hops = 0; ; hops++) {
      const headers = {
        // A compressed answer has no ranges.
        "accept-encoding": "identity",
        "user-agent": "malt-notebooks",
        ...(from > 0 && { range: `bytes=${from}-` }),
        ...(token !== null && url.origin === base.origin && { authorization: `Bearer ${token}` }),
      };
      const limit = new AbortController();
      const timer = setTimeout(() => limit.abort(new Error(`no answer for ${patience / 1000} s`)), patience);
      const response = await fetch(url, { method, headers, redirect: "manual", signal: limit.signal })
        .catch((error) => {
          throw new Unanswered(url, failureReason(error), error);
        })
        .finally(() => clearTimeout(timer));
      const to = response.headers.get("location");
      const isRedirect = response.status >= 300 && response.status < 400 && to !== null;
      // The hub says what a file is where it sends on to it.
      if (!isRedirect || (method === "HEAD" && response.headers.has("x-linked-etag"))) {
        const { status } = response;
        if (isRedirect || status === 200 || status === 206 || status === 416) return response;
        await response.body?.cancel();
        throw refusal(response, url.origin === base.origin ? null : url.origin, what);
      }
      await response.body?.cancel();
      const next = URL.canParse(to, url.href) ? new URL(to, url) : null;
      if (!next || !/^https?:$/.test(next.protocol) || hops >= 10)
        throw new ServerError(`${base.origin} sends on from ${what} without end, or to no address ("${to}")`);
      url = next;
    }
  };

  /** Error of a status. @param other host of the file, where it is not the hub that answered */
  const refusal = (response: Response, other: string | null, what: string): Error => {
    const { status } = response;
    if (other !== null) return new Error(`HTTP status ${status} from ${other}`);
    if (status === 429 || status >= 500) return new Unanswered(base, `HTTP status ${status}`);
    const code = response.headers.get("x-error-code");
    const page = `${endpoint}/${repo}`;
    const unseen = "it is private or gated, or there is none of this name";
    if (code === "GatedRepo" || status === 403) {
      const how = token === null ? "set HF_TOKEN to a token of an account" : "HF_TOKEN must be of an account";
      return new RefusedError(`${repo} is gated (HTTP status ${status}); ${how} that was let in at ${page}`, status);
    }
    if (status === 401)
      return new RefusedError(
        token === null
          ? `the hub does not show ${repo} without a token (HTTP status 401): ${unseen}; check the name, or set HF_TOKEN`
          : `the hub does not show ${repo} with this HF_TOKEN (HTTP status 401): the token is not valid, or ${unseen}`,
        status,
      );
    const known: Record<string, string> = {
      RepoNotFound: `there is no repository ${repo}, or HF_TOKEN must be set to see it`,
      RevisionNotFound: `${repo} has no such revision`,
      EntryNotFound: `${repo} has no such file`,
    };
    const why = (status === 404 && known[code ?? ""]) || "check the name";
    return new RefusedError(
      `${base.origin} does not have ${what} (HTTP status ${status}): ${why}; see ${page}`,
      status,
    );
  };

  const filePage = (revision: string, file: string) =>
    `${endpoint}/${repo}/resolve/${encodeURIComponent(revision)}/${file.split("/").map(encodeURIComponent).join("/")}`;

  /** The commit of a revision, and the GGUF files in it. */
  const list = async (revision: string): Promise<{ commit: string; files: string[] }> => {
    const what = `${repo}@${revision}`;
    const response = await ask(`${endpoint}/api/models/${repo}/revision/${encodeURIComponent(revision)}`, { what });
    const shape = z.object({
      sha: z.string().refine(isCommit),
      siblings: z.array(z.object({ rfilename: z.string() })),
    });
    const page = shape.safeParse(parseJson(await boundedText(response, base)));
    if (!page.success)
      throw new ServerError(`${endpoint} does not answer as the hub does about ${what}; check HF_ENDPOINT`);
    const { sha, siblings } = page.data;
    return { commit: sha, files: siblings.map(({ rfilename }) => rfilename).filter(isFile) };
  };

  return {
    /** Which file of which commit is meant, and what its bytes are. */
    async find({ revision, file }: HubWeights): Promise<HubFile> {
      const { commit, files } =
        file !== null && isCommit(revision) ? { commit: revision, files: [file] } : await list(revision);
      const chosen = choose(repo, files, file);
      const response = await ask(filePage(commit, chosen), { method: "HEAD", what: `${repo}@${commit}:${chosen}` });
      const { headers } = response;
      const isHub = new URL(response.url).origin === base.origin;
      const linked = headers.get("x-linked-etag") ?? (isHub ? headers.get("etag") : null);
      const etag = /^"?([0-9a-f]{64})"?$/.exec(linked ?? "");
      const size = headers.get("x-linked-size") ?? (response.status === 200 ? headers.get("content-length") : null);
      return { file: chosen, commit, sha256: etag?.[1] ?? null, bytes: /^\d+$/.test(size ?? "") ? Number(size) : null };
    },
    /** The bytes of a file from one on. @throws Unanswered, or Error of another host, which may pass */
    get: (commit: string, file: string, from: number) =>
      ask(filePage(commit, file), { from, what: `${repo}@${commit}:${file}` }),
  };
}

/** No answer, or one that says so: it may pass, and a copy does as well. */
export class Unanswered extends UnreachableError {
  constructor(url: URL, why: string, cause?: unknown) {
    super(`the hub ${url.origin} cannot be reached (${why}); check the network and HF_ENDPOINT`, { cause });
  }
}

async function boundedText(response: Response, base: URL): Promise<string> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const piece of (response.body ?? []) as unknown as AsyncIterable<Uint8Array>) {
      bytes += piece.length;
      if (bytes > longestPage) throw new Error(`a page of more than ${longestPage} bytes`);
      pieces.push(piece);
    }
  } catch (error) {
    throw new Unanswered(base, failureReason(error), error);
  }
  return Buffer.concat(pieces).toString("utf8");
}

/** @throws InputError unless the file is there, or is the only one, and is a whole model */
function choose(repo: string, files: readonly string[], file: string | null): string {
  const whole = files.filter((name) => !isPart(name)).sort();
  const chosen = file ?? (whole.length === 1 ? whole[0]! : null);
  if (chosen !== null && isPart(chosen))
    throw new InputError(
      `${chosen} of ${repo} is one part of a model; join its parts with llama-gguf-split --merge and give --model-file`,
    );
  if (chosen !== null && files.includes(chosen)) return chosen;
  const names =
    whole.length > 0 ? `its GGUF files are ${whole.join(", ")}` : "it has no GGUF file that is a whole model";
  if (file !== null) throw new InputError(`${repo} has no file ${file}; ${names}`);
  const example = whole.length > 0 ? `name one, as in --hf ${repo}:${whole[0]}` : "look for a repository of GGUF files";
  throw new InputError(`which file of ${repo} is not clear: ${names}; ${example}`);
}
