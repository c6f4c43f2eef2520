/**
 * GGUF files of the Hugging Face hub, each downloaded once into .cache/models/. Scope: which file of which commit is meant,
 * copies that are there already, a download that goes on where it was cut off, and the check of its SHA-256. What it leaves
 * out: what the file is served with (table.ts). No library of the hub goes on with a download that broke off.
 */
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, stat, statfs, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import * as z from "zod";
import { type HubSettings, hubSettings } from "../environment.js";
import { InputError, MaltError, RefusedError, RunError, ServerError, UnreachableError } from "../errors.js";
import { byteSize } from "../format.js";
import { parseJson } from "../json.js";
import { cachePath } from "../paths.js";
import { failureReason, saveBody, sha256OfFile } from "../transfer.js";
import type { WeightsFile } from "../types.js";
import { isPart } from "./gguf.js";
import type { HubWeights } from "./table.js";

/** What a caller may want to know while a file is fetched. */
export interface FetchHooks {
  /** Called with a message when something takes long, such as a download. */
  onStatus?: ((text: string) => void) | undefined;
  /** Called while a file is downloaded: bytes that are there, and of the whole file, null where the hub does not say. */
  onDownload?: ((done: number, total: number | null) => void) | undefined;
}

/** A weights file and where it lies on this machine. */
export interface LocalWeights extends WeightsFile {
  path: string;
}

/** Milliseconds until an answer must begin, and that a download may pause. */
const patience = { answer: 30_000, stall: 60_000 };
/** A download that breaks off is taken up again: so often in a row without a new byte, and so often in all. */
const attempts = { inVain: 4, all: 50 };
/** Bytes of a page of the hub about a repository, and of a file whose length it does not say. */
const longest = { page: 2 ** 26, file: 2 ** 42 };

const isCommit = (revision: string) => /^[0-9a-f]{40}$/.test(revision);
const isFile = (path: string) =>
  /^[^\p{Cc}\\]+\.gguf$/iu.test(path) && path.split("/").every((name) => !["", ".", ".."].includes(name));

/**
 * Reads `OWNER/NAME[@REVISION][:FILE]`, the revision being main by default.
 * @throws InputError unless it is one
 */
export function parseHub(text: string): HubWeights {
  const [, repo, revision = "main", file = null] =
    /^(\w[\w.-]*\/\w[\w.-]*)(?:@(\w[\w./-]*))?(?::(.+))?$/s.exec(text) ?? [];
  if (repo !== undefined && (file === null || isFile(file))) return { from: "hub", repo, revision, file };
  throw new InputError(`--hf must be OWNER/NAME[@REVISION][:FILE], FILE being one that ends in .gguf, not "${text}"`);
}

/** How a run records it. */
export const hubSource = (repo: string, commit: string, file: string): string => `hf://${repo}@${commit}/${file}`;

/** Reads {@link hubSource}; null for another source. */
export function parseHubSource(source: string): HubWeights | null {
  const [, repo, revision, file] = /^hf:\/\/([^/@]+\/[^/@]+)@([0-9a-f]{40})\/(.+)$/s.exec(source) ?? [];
  return file === undefined ? null : parseHub(`${repo}@${revision}:${file}`);
}

/** A file that was looked up. */
interface Found {
  file: string;
  commit: string;
  /** null for a file that the hub gives no SHA-256 of. */
  sha256: string | null;
  bytes: number | null;
}

/**
 * The file that is meant, on this machine. A copy whose SHA-256 is right is taken without a download; where the bytes are
 * known beforehand, by a pinned SHA-256 or because this commit was looked up before, without a question too.
 * @param cache folder of the copies; a file may also be put into it, or beside it, by hand
 * @throws InputError for several files or none, or a wrong setting; RefusedError for what the hub refuses; UnreachableError
 *   without a network and without a copy; ServerError for wrong bytes; RunError if the copy cannot be written
 */
export async function hubWeights(
  wanted: HubWeights,
  hooks: FetchHooks = {},
  settings: HubSettings = hubSettings(),
  cache: string = cachePath("models"),
): Promise<LocalWeights> {
  const { repo, revision, file, sha256: pin } = wanted;
  const store = await openStore(repo, cache, hooks);
  const taken = (path: string, { file, commit }: Found, sha256: string): LocalWeights => ({
    path,
    source: hubSource(repo, commit, file),
    sha256,
  });
  /** What was found under this revision when the hub was last asked. */
  const before = store.seen.filter(
    (row) => row.revision === revision && row.file === (file ?? row.file) && row.sha256 === (pin ?? row.sha256),
  );
  const fromBefore = async (why: string, cause?: unknown): Promise<LocalWeights> => {
    const [only, another] = before;
    const path = only && !another && (await store.copy(only));
    if (path) {
      hooks.onStatus?.(`${why}; taking the copy of ${hubSource(repo, only.commit, only.file)}`);
      return taken(path, only, only.sha256);
    }
    const what = another
      ? `there are copies of several files of ${repo}@${revision}, name one: ${before.map((row) => row.file).join(", ")}`
      : `there is no copy of ${repo}@${revision}${file === null ? "" : `:${file}`} in ${cache}; download the file on ` +
        "another machine and give it with --model-file PATH";
    throw new UnreachableError(`${why}; ${what}`, { cause });
  };
  if (file !== null && isCommit(revision)) {
    const sha256 = pin ?? before[0]?.sha256;
    const exact = { file, commit: revision, sha256: sha256 ?? null, bytes: null };
    const path = await store.copy(exact);
    if (path && sha256) return taken(path, exact, sha256);
  }
  if (settings.isOffline) return fromBefore("HF_HUB_OFFLINE is set");
  try {
    const hub = hubAt(settings, repo);
    const found = await hub.find(wanted);
    if (found.sha256 !== null && found.sha256 !== (pin ?? found.sha256))
      throw new ServerError(
        `${hubSource(repo, found.commit, found.file)} has SHA-256 ${found.sha256} at ${settings.endpoint}, but ${pin} is ` +
          "wanted; check HF_ENDPOINT",
      );
    const copy = await store.copy(found);
    const [path, sha256] = copy
      ? [copy, found.sha256!]
      : await store.fetch(hub, { ...found, sha256: found.sha256 ?? pin ?? null });
    await store.remember({ revision, ...found, sha256 });
    return taken(path, found, sha256);
  } catch (error) {
    if (!(error instanceof Unanswered)) throw error;
    return fromBefore(error.message, error);
  }
}

/** Downloads of this process. */
const underWay = new Map<string, Promise<[string, string]>>();

const seenShape = z.array(
  z.object({
    revision: z.string(),
    file: z.string().refine(isFile),
    commit: z.string().refine(isCommit),
    sha256: z.string().regex(/^[0-9a-f]{64}$/),
    bytes: z.number().nullable(),
  }),
);

/** The copies of a repository's files, and what each revision was when the hub was last asked. */
async function openStore(repo: string, cache: string, { onStatus = () => {}, onDownload = () => {} }: FetchHooks) {
  const folder = join(cache, repo.replace("/", "--"));
  const list = join(folder, "revisions.json");
  const read = async () => seenShape.safeParse(parseJson(await readFile(list, "utf8").catch(() => "[]"))).data ?? [];
  const seen = await read();

  const place = (file: string, sha256: string) => join(folder, sha256.slice(0, 16), basename(file));

  /** A file with the right bytes: an earlier download, or one that was put into the cache by hand. */
  const copy = async ({ file, sha256 }: Found): Promise<string | null> => {
    if (sha256 === null) return null;
    const name = basename(file);
    for (const path of [place(file, sha256), join(cache, name), join(dirname(cache), name)]) {
      const about = await stat(path).catch(() => null);
      if (!about?.isFile()) continue;
      const own = await sha256OfFile(path);
      if (own === sha256) return path;
      onStatus(`${path} has SHA-256 ${own}, not ${sha256}; it is not used`);
    }
    return null;
  };

  /** Downloads a file, or the rest of it; in this process once at a time. @returns its path and its SHA-256 */
  const fetch = async (hub: Hub, found: Found): Promise<[string, string]> => {
    const source = hubSource(repo, found.commit, found.file);
    const fetching = underWay.get(folder + source) ?? download(hub, found, source);
    underWay.set(folder + source, fetching);
    return fetching.finally(() => underWay.delete(folder + source));
  };
  const download = async (hub: Hub, found: Found, source: string): Promise<[string, string]> => {
    const { file, sha256, bytes } = found;
    const home = sha256 === null ? folder : dirname(place(file, sha256));
    return keeping(`keep ${source} in ${home}`, async () => {
      await mkdir(home, { recursive: true });
      const partial = await claim(home, basename(file));
      if (sha256 === null) await rm(partial, { force: true });
      const size = async () => (await stat(partial).catch(() => null))?.size ?? 0;
      await requireRoom(home, (bytes ?? 0) - (await size()), source);
      onStatus(`Downloading ${source}${bytes === null ? "" : ` (${byteSize(bytes)})`} to ${home} …`);
      for (let inVain = 0, all = 1; ; all++) {
        const there = await size();
        try {
          await fetchRest(hub, found, partial, there);
          break;
        } catch (error) {
          if (error instanceof RangeError) {
            await rm(partial, { force: true });
            throw new ServerError(`${source} has more bytes than the hub says (${bytes}); it is removed`);
          }
          if (isLocal(error) || (error instanceof MaltError && !(error instanceof Unanswered))) throw error;
          inVain = (await size()) > there ? 0 : inVain + 1;
          const why = failureReason(error);
          if (inVain >= attempts.inVain || all >= attempts.all)
            throw new UnreachableError(
              `the download of ${source} broke off (${why}) with ${byteSize(await size())}; run the same command again ` +
                "to go on",
              { cause: error },
            );
          onStatus(`the download broke off (${why}) with ${byteSize(await size())}; going on`);
          await sleep(Math.min(500 * 2 ** inVain, 8_000));
        }
      }
      const own = await sha256OfFile(partial);
      if (own !== (sha256 ?? own)) {
        await rm(partial, { force: true });
        throw new ServerError(
          `${source} was downloaded with SHA-256 ${own}, but the hub says ${sha256}; it is removed, run the same command again`,
        );
      }
      const path = place(file, own);
      await mkdir(dirname(path), { recursive: true });
      await rename(partial, path);
      return [path, own];
    });
  };

  /** Writes the rest of a file behind what is there of it. @throws Error that may pass, MaltError that does not */
  const fetchRest = async (hub: Hub, { file, commit, bytes }: Found, partial: string, there: number) => {
    if (bytes !== null && there === bytes) return;
    const response = await hub.get(commit, file, there);
    const start = /^bytes (\d+)-/.exec(response.headers.get("content-range") ?? "")?.[1];
    const goesOn = there > 0 && response.status === 206 && Number(start) === there;
    // The rest does not fit to what is there: the whole file is asked for next.
    if (!goesOn && response.status !== 200) {
      await response.body?.cancel();
      await rm(partial, { force: true });
      throw new Error(`HTTP status ${response.status} for the bytes from ${there} on`);
    }
    let done = goesOn ? there : 0;
    onDownload(done, bytes);
    await saveBody(response, partial, {
      append: goesOn,
      longest: (bytes ?? longest.file) - done,
      stall: patience.stall,
      onBytes: (more) => {
        done += more;
        onDownload(done, bytes);
      },
    });
    if (bytes !== null && done < bytes) throw new Error(`${done} of ${bytes} bytes`);
  };

  /** Keeps what a revision is now, for the time without a network. */
  const remember = async (row: z.infer<typeof seenShape>[number]): Promise<void> => {
    const others = (await read()).filter(({ revision, file }) => revision !== row.revision || file !== row.file);
    const also = { ...row, revision: row.commit };
    const rows = [...others.filter(({ revision, file }) => revision !== also.revision || file !== also.file), also];
    if (row.revision !== row.commit) rows.push(row);
    await keeping(`write ${list}`, async () => {
      await mkdir(folder, { recursive: true });
      const draft = `${list}.${randomUUID()}.draft`;
      await writeFile(draft, `${JSON.stringify(rows)}\n`);
      await rename(draft, list);
    });
  };

  return { folder, seen, copy, fetch, remember };
}

/**
 * The file that this process alone downloads into: what a process that is gone has left, or a new one. Two processes that
 * download the same file at the same time do so side by side.
 */
async function claim(folder: string, name: string): Promise<string> {
  const own = join(folder, `${name}.${process.pid}.partial`);
  if (existsSync(own)) return own;
  for (const left of await readdir(folder)) {
    const pid = left.startsWith(`${name}.`) ? /\.(\d+)\.partial$/.exec(left)?.[1] : undefined;
    if (pid === undefined || isAlive(Number(pid))) continue;
    // Another process may have been faster.
    const isTaken = await rename(join(folder, left), own).then(
      () => true,
      () => false,
    );
    if (isTaken) break;
  }
  return own;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** @throws RunError unless there is room for so many more bytes */
async function requireRoom(folder: string, bytes: number, source: string): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  if (bytes > bavail * bsize)
    throw new RunError(
      `${source} needs ${byteSize(bytes)} more, and ${folder} has room for ${byteSize(bavail * bsize)}; make room, or ` +
        "choose a smaller file",
    );
}

/** Whether an error is the file system's, not the network's, whose errors come wrapped. */
const isLocal = (error: unknown): error is NodeJS.ErrnoException =>
  error instanceof Error && typeof (error as NodeJS.ErrnoException).syscall === "string";

/** Turns the file system's errors into one that says what could not be done. */
async function keeping<T>(what: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (!isLocal(error)) throw error;
    throw new RunError(
      `cannot ${what} (${error.code}); make room or make it writable, then run the same command again`,
      {
        cause: error,
      },
    );
  }
}

type Hub = ReturnType<typeof hubAt>;

/** A repository at the hub. @throws InputError for an address or a token that cannot be one */
function hubAt({ endpoint, token }: HubSettings, repo: string) {
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
      const timer = setTimeout(
        () => limit.abort(new Error(`no answer for ${patience.answer / 1000} s`)),
        patience.answer,
      );
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
    async find({ revision, file }: HubWeights): Promise<Found> {
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
class Unanswered extends UnreachableError {
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
      if (bytes > longest.page) throw new Error(`a page of more than ${longest.page} bytes`);
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
