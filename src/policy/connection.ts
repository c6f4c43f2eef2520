/**
 * The connection to one server: its address, its sockets, and requests whose answers are bounded, decoded and come from
 * nowhere else. What it leaves out: completions (openai.ts).
 */
import { pipeline } from "node:stream";
import { createBrotliDecompress, createUnzip } from "node:zlib";
import { Agent, type Dispatcher, Headers, request } from "undici";
import { InputError } from "../errors.js";
import { BadAnswer } from "./answer.js";
import { serverWords } from "./words.js";

/** How long a server may be silent, in milliseconds. */
export interface TimeLimits {
  /** Until its answer begins. A whole answer begins when its last token is there, so this covers waiting and decoding. */
  headers: number;
  /** Between two pieces of an answer that has begun. */
  stall: number;
}

/** How much of an answer is read before its request fails. */
export interface Bounds {
  /** The whole body, after it was decompressed. */
  bytes: number;
  /** One line of it, such as an event of a stream. */
  line: number;
  /** From its beginning to its end, in milliseconds. */
  ms: number;
}

const MiB = 2 ** 20;
const pageBounds: Bounds = { bytes: 4 * MiB, line: 4 * MiB, ms: 60_000 };
const errorBytes = 2 ** 16;
/** Bytes for a token: its text, its log-probability, and the chunk of a stream around it, which take 300 to 700. */
const tokenBytes = 4096;
/** Bytes for a byte of the prompt, whose tokens some servers list in their answer. */
const promptBytes = 16;

/**
 * The most that an answer can take: 1 MiB, 16 bytes for each byte of the prompt and 4 KiB for each token that may be
 * sampled; an event of a stream as much as one choice.
 * @param prompt bytes of the messages
 * @param choices n ≥ 1, of at most `tokens` tokens each
 */
export function answerBounds(prompt: number, choices: number, tokens: number, ms: number): Bounds {
  const base = MiB + promptBytes * prompt;
  return { bytes: base + choices * tokens * tokenBytes, line: base + tokens * tokenBytes, ms };
}

/**
 * As many sockets as there are requests in flight, and no time limit but those given: Node's own fetch gives up when
 * headers take five minutes, which a long completion in a queue does.
 * @param isKept whether a socket is kept open for the next request
 */
export const sockets = ({ headers, stall }: TimeLimits, isKept = true): Dispatcher =>
  new Agent({
    connections: null,
    pipelining: isKept ? 1 : 0,
    headersTimeout: headers,
    bodyTimeout: stall,
    connect: { timeout: 10_000 },
  });

/** What the openai package gives to `fetch`, and the bounds of the answer. */
interface Asked {
  method: Dispatcher.HttpMethod;
  headers: ConstructorParameters<typeof Headers>[0];
  body?: string;
  signal?: AbortSignal;
  dispatcher?: Dispatcher;
  bounds?: Bounds;
}

/**
 * As much of a `fetch` as the openai package needs, over undici's plain requests. The answers are Node's streams; those of
 * undici's own `fetch`, wrapped once more for web standards, cost the client a third of its time. A redirect to another
 * server is not followed, since the prompt and the key would go with it. The words of an error are put where the package
 * looks for them.
 */
export async function plainFetch(url: string, { bounds = pageBounds, ...asked }: Asked, redirects = 3) {
  const own = new Headers(asked.headers);
  // Some proxies compress all the same.
  own.set("accept-encoding", "identity");
  const { statusCode: status, headers: fields, body: raw } = await request(url, { ...asked, headers: own });
  const target = status >= 300 && status < 400 ? [fields.location].flat()[0] : undefined;
  const isNear = target !== undefined && originOf(target, url) === originOf(url);
  // Other redirects would make a GET of a POST.
  if (isNear && redirects > 0 && (status >= 307 || asked.method === "GET")) {
    await raw.dump();
    return plainFetch(new URL(target, url).href, { bounds, ...asked }, redirects - 1);
  }
  const headers = new Headers(fields as never);
  const ok = status >= 200 && status < 300;
  const limits = ok ? bounds : { ...bounds, bytes: errorBytes, line: errorBytes };
  const late = () => raw.destroy(new Error(`an answer that did not end within ${limits.ms / 1000} s`));
  const timer = setTimeout(late, limits.ms).unref();
  raw.once("close", () => clearTimeout(timer)).on("error", () => {});
  const body = bounded(raw, headers.get("content-encoding"), limits, ok);
  const text = async () => {
    const pieces: Buffer[] = [];
    for await (const piece of body) pieces.push(piece);
    return new TextDecoder().decode(Buffer.concat(pieces));
  };
  const words = async () => {
    if (target === undefined) return serverWords(await text());
    raw.destroy();
    return `a redirect to ${placeOf(target, url)}, which is not followed, because prompts and key would go there`;
  };
  const error = async () => {
    const message = await words().catch((cause: Error) => cause.message);
    return message.trim() && JSON.stringify({ error: { message } });
  };
  return { url, status, ok, headers, body, words, text: ok ? text : error };
}

const originOf = (url: string, from?: string) => (URL.canParse(url, from) ? new URL(url, from).origin : null);

/** Server and path of a redirect's target; the rest may hold secrets. */
function placeOf(target: string, from: string): string {
  if (!URL.canParse(target, from)) return target.replace(/[?#].*$/s, "");
  const { protocol, host, pathname } = new URL(target, from);
  return `${protocol}//${host}${pathname}`;
}

/** A body as its server meant it, as long as it stays within the bounds; else its connection is closed. */
async function* bounded(
  raw: AsyncIterable<Buffer>,
  encoding: string | null,
  { bytes, line }: Bounds,
  mustBeText: boolean,
): AsyncGenerator<Buffer> {
  const utf8 = new TextDecoder("utf-8", { fatal: true });
  let inLine = 0;
  try {
    for await (const piece of limited(decoded(limited(raw, bytes), encoding), bytes)) {
      const end = piece.lastIndexOf(10);
      inLine = end < 0 ? inLine + piece.length : piece.length - end - 1;
      if (inLine > line) throw new BadAnswer(`answered with a line of more than ${bytesOf(line)}`);
      if (mustBeText) utf8.decode(piece, { stream: true });
      yield piece;
    }
    if (mustBeText) utf8.decode();
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    if (/^(Z_|ERR__)/.test(code))
      throw new BadAnswer(`answered with content-encoding ${encoding}, which cannot be decoded (${code})`);
    if (code === "ERR_ENCODING_INVALID_ENCODED_DATA") throw new BadAnswer("answered with bytes that are not UTF-8");
    throw error;
  }
}

async function* limited(pieces: AsyncIterable<Buffer>, bytes: number): AsyncGenerator<Buffer> {
  let read = 0;
  for await (const piece of pieces) {
    read += piece.length;
    if (read > bytes)
      throw new BadAnswer(`answered with more than ${bytesOf(bytes)}, the most that this answer can take`);
    yield piece;
  }
}

const bytesOf = (count: number): string => `${count.toLocaleString("en-US")} bytes`;

/** @throws BadAnswer for an encoding that Node cannot decode */
function decoded(pieces: AsyncIterable<Buffer>, encodings: string | null): AsyncIterable<Buffer> {
  const names = (encodings ?? "")
    .toLowerCase()
    .split(",")
    .map((name) => name.trim());
  return names.reverse().reduce((encoded, name) => {
    if (name === "" || name === "identity") return encoded;
    if (!["gzip", "x-gzip", "deflate", "br"].includes(name))
      throw new BadAnswer("answered with a content-encoding that cannot be decoded", name);
    const decoder = name === "br" ? createBrotliDecompress() : createUnzip();
    // Errors reach the reader through the last stream.
    return pipeline(encoded, decoder, () => {});
  }, pieces);
}

/** @throws InputError unless it is an http(s) URL without a password or query */
export function checkedURL(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (!url || !/^https?:$/.test(url.protocol))
    throw new InputError(`base URL "${text}" is not an http(s) URL; give one like http://localhost:8000/v1`);
  if (url.username || url.password || url.search)
    throw new InputError(`the base URL of ${url.host} carries a password or a query; use OPENAI_API_KEY for keys`);
  return `${url.origin}${url.pathname === "/" ? "/v1" : url.pathname.replace(/\/+$/, "")}`;
}

/**
 * GETs a page that servers offer beside /v1, such as /metrics.
 * @returns its text, null where the server has no such page
 * @throws BadAnswer for another error of the server, Error if it does not answer within five seconds
 */
export async function pageBeside(baseURL: string, path: string, apiKey: string): Promise<string | null> {
  const { ok, status, text, words } = await plainFetch(`${baseURL.replace(/\/v1$/, "")}/${path}`, {
    method: "GET",
    headers: { authorization: `Bearer ${apiKey}` },
    signal: AbortSignal.timeout(5_000),
  });
  if (ok) return text();
  const said = await words();
  if ([404, 405, 501].includes(status)) return null;
  throw new BadAnswer(`answered HTTP ${status} for /${path}`, said);
}
