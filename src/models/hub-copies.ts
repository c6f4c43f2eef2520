/**
 * The copies of a repository's files on this machine. Scope: finding one with the right bytes, and a download that goes on
 * where it was cut off. No library of the hub does that.
 */
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, stat, statfs, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import * as z from "zod";
import { MaltError, RunError, ServerError, UnreachableError } from "../errors.js";
import { byteSize } from "../format.js";
import { parseJson } from "../json.js";
import { failureReason, saveBody, sha256OfFile } from "../transfer.js";
import { type Hub, type HubFile, hubSource, isCommit, isFile, Unanswered } from "./hub-pages.js";

/** What a caller may want to know while a file is fetched. */
export interface FetchHooks {
  /** Called with a message when something takes long, such as a download. */
  onStatus?: ((text: string) => void) | undefined;
  /** Called while a file is downloaded: bytes that are there, and of the whole file, null where the hub does not say. */
  onDownload?: ((done: number, total: number | null) => void) | undefined;
}

/** Milliseconds that a download may pause. */
const stall = 60_000;
/** A download that breaks off is taken up again: so often in a row without a new byte, and so often in all. */
const attempts = { inVain: 4, all: 50 };
/** Bytes of a file whose length the hub does not say. */
const longestFile = 2 ** 42;

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
export async function openCopies(
  repo: string,
  cache: string,
  { onStatus = () => {}, onDownload = () => {} }: FetchHooks,
) {
  const folder = join(cache, repo.replace("/", "--"));
  const list = join(folder, "revisions.json");
  const read = async () => seenShape.safeParse(parseJson(await readFile(list, "utf8").catch(() => "[]"))).data ?? [];
  const seen = await read();

  const place = (file: string, sha256: string) => join(folder, sha256.slice(0, 16), basename(file));

  /** A file with the right bytes: an earlier download, or one that was put into the cache by hand. */
  const find = async ({ file, sha256 }: HubFile): Promise<string | null> => {
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
  const fetch = async (hub: Hub, found: HubFile): Promise<[string, string]> => {
    const source = hubSource(repo, found.commit, found.file);
    const fetching = underWay.get(folder + source) ?? download(hub, found, source);
    underWay.set(folder + source, fetching);
    return fetching.finally(() => underWay.delete(folder + source));
  };
  const download = async (hub: Hub, found: HubFile, source: string): Promise<[string, string]> => {
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
      if (sha256 !== null && own !== sha256) {
        await rm(partial, { force: true });
        throw new ServerError(
          `${source} was downloaded with SHA-256 ${own}, but has ${sha256} at the hub; it is removed, run the same command again`,
        );
      }
      const path = place(file, own);
      await mkdir(dirname(path), { recursive: true });
      await rename(partial, path);
      return [path, own];
    });
  };

  /** Writes the rest of a file behind what is there of it. @throws Error that may pass, MaltError that does not */
  const fetchRest = async (hub: Hub, { file, commit, bytes }: HubFile, partial: string, there: number) => {
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
      longest: (bytes ?? longestFile) - done,
      stall,
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

  return { seen, find, fetch, remember };
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
