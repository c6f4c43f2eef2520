/**
 * The connection to one server: its address, its sockets, and plain JSON requests beside the OpenAI API. What it leaves
 * out: completions (openai.ts).
 */
import { Agent, type Dispatcher, fetch, Headers, interceptors, request } from "undici";
import { InputError } from "../errors.js";

/** How long a server may be silent, in milliseconds. */
export interface TimeLimits {
  /** Until its answer begins. A whole answer begins when its last token is there, so this covers waiting and decoding. */
  headers: number;
  /** Between two pieces of an answer that has begun. */
  stall: number;
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
  }).compose(interceptors.redirect({ maxRedirections: 3 }));

/** What the openai package gives to `fetch`. */
interface Asked {
  method: Dispatcher.HttpMethod;
  headers: Headers;
  body?: string;
  signal: AbortSignal;
  dispatcher: Dispatcher;
}

/**
 * As much of a `fetch` as the openai package needs, over undici's plain requests. The answers are Node's streams; those of
 * undici's own `fetch`, wrapped once more for web standards, cost the client a third of its time.
 */
export async function plainFetch(url: string, asked: Asked) {
  const { statusCode: status, headers, body } = await request(url, asked);
  const said = { text: () => body.text(), json: () => body.json() };
  return { url, status, ok: status >= 200 && status < 300, headers: new Headers(headers as never), body, ...said };
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
 * @returns its text, null where the server answers with an error
 * @throws Error if it cannot be reached within five seconds
 */
export async function pageBeside(baseURL: string, path: string, apiKey: string): Promise<string | null> {
  const response = await fetch(`${baseURL.replace(/\/v1$/, "")}/${path}`, {
    headers: { authorization: `Bearer ${apiKey}` },
    signal: AbortSignal.timeout(5_000),
  });
  const text = await response.text();
  return response.ok ? text : null;
}
