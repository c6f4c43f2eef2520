/**
 * A stand-in of the Hugging Face hub for tests: its pages on one port, the files it sends on to on another. It counts what it
 * is asked, and fails in the ways it is told to.
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A request, as the hub or its host of files read it. */
export interface HubRequest {
  host: "hub" | "files";
  method: string;
  url: string;
  token: string | null;
  range: string | null;
}

export interface FakeHubOptions {
  repo: string;
  /** The commit that main is at; may be changed. */
  commit: string;
  files: Map<string, Buffer>;
  /** SHA-256 that the hub says in place of the right one; null for none. */
  says?: string | null;
  /** Bytes that the hub says a file has in place of the right number. */
  size?: number;
  /** Token without which the repository is not shown. */
  token?: string;
  /** Answer of the hub in place of its own, if it returns one. */
  answer?: (request: HubRequest) => { status: number; headers?: Record<string, string>; body?: string } | undefined;
  /** Bytes after which the host of files breaks off, by the number of the request there, counted from 0. */
  cutAfter?: (request: number) => number | undefined;
  /** Whether the host of files knows ranges; default true. */
  ranges?: boolean;
}

export interface FakeHub {
  endpoint: string;
  options: FakeHubOptions;
  requests: HubRequest[];
  /** The requests for bytes of files. */
  downloads(): HubRequest[];
  stop(): Promise<void>;
}

export const sha256 = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

/** Starts both servers on free ports of 127.0.0.1. */
export async function startFakeHub(options: FakeHubOptions): Promise<FakeHub> {
  const requests: HubRequest[] = [];
  const downloads = () => requests.filter(({ host }) => host === "files");
  const note = (host: HubRequest["host"], { method = "", url = "", headers }: IncomingMessage): HubRequest => {
    const { authorization = null, range = null } = headers;
    const request = { host, method, url, token: authorization, range };
    requests.push(request);
    return request;
  };

  const files = await listening((request, response) => {
    const { range } = note("files", request);
    const bytes = options.files.get(decodeURIComponent((request.url ?? "").slice(1)));
    if (!bytes) return void response.writeHead(404).end();
    const from = options.ranges === false ? 0 : Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? 0);
    if (from >= bytes.length) return void response.writeHead(416).end();
    const rest = bytes.subarray(from);
    const about = { "content-range": `bytes ${from}-${bytes.length - 1}/${bytes.length}` };
    response.writeHead(from > 0 ? 206 : 200, { "content-length": rest.length, ...(from > 0 && about) });
    const cut = options.cutAfter?.(downloads().length - 1);
    if (cut === undefined) response.end(rest);
    else response.write(rest.subarray(0, cut), () => setTimeout(() => response.destroy(), 20));
  });

  const hub = await listening((request, response) => {
    const asked = note("hub", request);
    const { repo, commit, says, token } = options;
    const own = options.answer?.(asked);
    const fail = (status: number, code: string, words: string) =>
      response.writeHead(status, { "x-error-code": code, "x-error-message": words }).end(words);
    if (own) return void response.writeHead(own.status, own.headers).end(own.body);
    if (token !== undefined && asked.token !== `Bearer ${token}`)
      return void fail(401, "RepoNotFound", "Invalid token");
    const [path] = asked.url.split("?");
    const revision = new RegExp(`^/(?:api/models/)?${repo}/(?:revision|resolve)/([^/]+)(?:/(.+))?$`).exec(path!);
    if (!revision) return void fail(404, "RepoNotFound", "Repository not found");
    if (!["main", commit].includes(decodeURIComponent(revision[1]!)))
      return void fail(404, "RevisionNotFound", "Invalid rev id");
    if (path!.startsWith("/api/")) {
      const siblings = [".gitattributes", "README.md", ...options.files.keys()].map((rfilename) => ({ rfilename }));
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ sha: commit, siblings }));
      return;
    }
    const name = decodeURIComponent(revision[2] ?? "");
    const bytes = options.files.get(name);
    if (!bytes) return void fail(404, "EntryNotFound", "Entry not found");
    response
      .writeHead(302, {
        location: `${files.address}/${encodeURIComponent(name)}`,
        "x-repo-commit": commit,
        "x-linked-size": options.size ?? bytes.length,
        ...(says !== null && { "x-linked-etag": `"${says ?? sha256(bytes)}"` }),
      })
      .end();
  });

  const stop = async () => {
    for (const { server } of [hub, files]) {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    }
  };
  return { endpoint: hub.address, options, requests, downloads, stop };
}

async function listening(
  handle: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<{ server: Server; address: string }> {
  const server = createServer(handle);
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return { server, address: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}
