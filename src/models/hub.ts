/**
 * GGUF files of the Hugging Face hub, each downloaded once into .cache/models/. Scope: how one is named, and whether it has to
 * be looked up and downloaded, or a copy will do. What it leaves out: the hub's pages (hub-pages.ts), the copies
 * (hub-copies.ts), and what a model is served with (table.ts).
 */
import { type HubSettings, hubSettings } from "../environment.js";
import { InputError, ServerError, UnreachableError } from "../errors.js";
import { cachePath } from "../paths.js";
import type { WeightsFile } from "../types.js";
import { type FetchHooks, openCopies } from "./hub-copies.js";
import { type HubFile, hubAt, hubSource, isCommit, isFile, Unanswered } from "./hub-pages.js";
import type { HubWeights } from "./table.js";

/** A weights file and where it lies on this machine. */
export interface LocalWeights extends WeightsFile {
  path: string;
}

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

/** Reads hubSource (hub-pages.ts); null for another source. */
export function parseHubSource(source: string): HubWeights | null {
  const [, repo, revision, file] = /^hf:\/\/([^/@]+\/[^/@]+)@([0-9a-f]{40})\/(.+)$/s.exec(source) ?? [];
  return file === undefined ? null : parseHub(`${repo}@${revision}:${file}`);
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
  const copies = await openCopies(repo, cache, hooks);
  const taken = (path: string, { file, commit }: HubFile, sha256: string): LocalWeights => ({
    path,
    source: hubSource(repo, commit, file),
    sha256,
  });
  /** What was found under this revision when the hub was last asked. */
  const before = copies.seen.filter(
    (row) => row.revision === revision && row.file === (file ?? row.file) && row.sha256 === (pin ?? row.sha256),
  );
  const fromBefore = async (why: string, cause?: unknown): Promise<LocalWeights> => {
    const [only, another] = before;
    const path = only && !another && (await copies.find(only));
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
    const path = await copies.find(exact);
    if (path && sha256) return taken(path, exact, sha256);
  }
  if (settings.isOffline) return fromBefore("HF_HUB_OFFLINE is set");
  try {
    const hub = hubAt(settings, repo);
    const found = await hub.find(wanted);
    if (pin !== undefined && found.sha256 !== null && found.sha256 !== pin)
      throw new ServerError(
        `${hubSource(repo, found.commit, found.file)} has SHA-256 ${found.sha256} at ${settings.endpoint}, but ${pin} is ` +
          "wanted; check HF_ENDPOINT",
      );
    const copy = await copies.find(found);
    const [path, sha256] = copy
      ? [copy, found.sha256!]
      : await copies.fetch(hub, { ...found, sha256: found.sha256 ?? pin ?? null });
    await copies.remember({ revision, ...found, sha256 });
    return taken(path, found, sha256);
  } catch (error) {
    if (!(error instanceof Unanswered)) throw error;
    return fromBefore(error.message, error);
  }
}
