/** The line a person watches while work is done: done/total, rate, time left. Text only; no colours, no widgets. */
import { duration } from "../format.js";
import type { Progress } from "../sample/trees.js";

/** Where the line goes: a terminal gets it redrawn in place, anything else a new line now and then. */
export interface ProgressStream {
  isTTY?: boolean;
  columns?: number;
  write(text: string): unknown;
}

export interface ProgressLine {
  /**
   * Shows how far it is. `done` counts from the start of the work; the rate is that of `own`, what this start has done
   * itself. By default that is all but what was done at the first call.
   */
  update(done: number, total: number, own?: number): void;
  /** Shows the last state and goes to a new line. */
  end(): void;
}

/** At most four redraws a second on a terminal; a log gets a line every ten seconds. */
const interval = { terminal: 250, log: 10_000 };

/**
 * Starts a line that is redrawn in place.
 * @param now the clock in milliseconds; replaced in tests
 * @returns `show` takes the making of the text, which costs nothing where it is not drawn
 */
export function liveLine(stream: ProgressStream, now: () => number = Date.now) {
  const every = stream.isTTY ? interval.terminal : interval.log;
  let shown = Number.NEGATIVE_INFINITY;
  let latest: (() => string) | null = null;
  let isBegun = false;
  const draw = (text: string, time: number) => {
    stream.write(stream.isTTY ? `\r${text.slice(0, (stream.columns ?? 80) - 1)}\x1b[K` : `${text}\n`);
    shown = time;
    latest = null;
    isBegun = true;
  };
  return {
    show(text: () => string): void {
      latest = text;
      const time = now();
      if (time - shown >= every) draw(text(), time);
    },
    end(): void {
      if (latest) draw(latest(), now());
      if (stream.isTTY && isBegun) stream.write("\n");
    },
  };
}

/**
 * Starts a progress line.
 * @param what what is being done, e.g. "sampling requests"
 * @param now the clock in milliseconds; replaced in tests
 */
export function progressLine(what: string, stream: ProgressStream, now: () => number = Date.now): ProgressLine {
  const line = liveLine(stream, now);
  let first: { time: number; done: number } | null = null;
  return {
    update(done, total, own) {
      const time = now();
      first ??= { time, done };
      const { time: began, done: before } = first;
      line.show(() => `${what} ${done}/${total}${pace(own ?? done - before, total - done, (time - began) / 1000)}`);
    },
    end: line.end,
  };
}

/** What a million tokens cost, in dollars. */
export interface Prices {
  prompt: number;
  /** Prompt tokens from the server's prefix cache. */
  cached: number;
  completion: number;
}

/** Dollars that the tokens of a call have cost, as far as the server counted them. */
export function cost({ prompt_tokens, cached_tokens, completion_tokens }: Progress["session"], prices: Prices): number {
  const prompt = (prompt_tokens - cached_tokens) * prices.prompt + cached_tokens * prices.cached;
  return (prompt + completion_tokens * prices.completion) / 1e6;
}

/**
 * How far a sampling is, in one line, what matters most first.
 * @param seconds since this call began
 */
export function samplingLine(progress: Readonly<Progress>, seconds: number, prices?: Prices): string {
  const { ok, failed, asked, pending, retries, in_flight, limit, nodes, session } = progress;
  const { prompt_tokens, cached_tokens, completion_tokens, requests } = session;
  const rate = (tokens: number) => (seconds > 0 ? tokens / seconds : 0).toFixed(0);
  const spent = prices && cost(session, prices);
  return [
    `sampling requests ${ok + failed}/${asked}`,
    requests > 0 && pending > 0 && `${duration((pending * seconds) / requests)} left`,
    `${in_flight} of ${limit} in flight`,
    `${rate(completion_tokens)} tokens/s`,
    `${rate(prompt_tokens)} in`,
    cached_tokens > 0 && `${Math.round((100 * cached_tokens) / prompt_tokens)} % cached`,
    failed > 0 && `${failed} failed`,
    retries > 0 && `${retries} ${retries === 1 ? "retry" : "retries"}`,
    // At the end it will have cost this, if the rest is like what was sampled.
    spent !== undefined && requests > 0 && `$${spent.toFixed(2)} of $${(spent * (1 + pending / requests)).toFixed(2)}`,
    Object.entries(nodes)
      .map(([role, count]) => `${role} ${count}`)
      .join(" "),
  ]
    .filter(Boolean)
    .join(", ");
}

/** ", 12.3/s, 4 min left", once there is something to tell from. */
function pace(done: number, left: number, seconds: number): string {
  if (done <= 0 || seconds <= 0) return "";
  const rate = done / seconds;
  return `, ${rate >= 10 ? rate.toFixed(0) : rate.toFixed(1)}/s, ${duration(left / rate)} left`;
}
