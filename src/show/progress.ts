/** The progress line shown while work is done: done/total, rate, time left. Text only; no colours, no widgets. */
import { byteSize, duration } from "../format.js";
import type { Progress } from "../sample/trees.js";
import { type TrainingStatus, trainingLine, trainingNote } from "../train/status.js";
import { oneLine } from "../visible.js";

/** Where the line goes: a terminal gets it redrawn in place, anything else a new line now and then. */
export interface ProgressStream {
  isTTY?: boolean;
  columns?: number;
  write(text: string): unknown;
}

export interface ProgressLine {
  /**
   * Shows how far it is. `done` counts from the start of the work; the rate is that of `own`, what this start has done
   * itself. By default that is everything except what was done at the first call. A smaller `done` than before begins
   * another part of the work, with a clock of its own.
   */
  update(done: number, total: number, own?: number): void;
  /** Shows the last state and goes to a new line. */
  end(): void;
}

/** At most four redraws a second on a terminal; a log gets a line every ten seconds. */
const interval = { terminal: 250, log: 10_000 };

/**
 * Starts a line that is redrawn in place.
 * @param stream replaced in tests, as is the clock `now` in milliseconds
 * @returns `show` takes a function that makes the text; it is not called when nothing is drawn
 */
export function liveLine(stream: ProgressStream = process.stderr, now: () => number = Date.now) {
  const every = stream.isTTY ? interval.terminal : interval.log;
  let shown = Number.NEGATIVE_INFINITY;
  let latest: (() => string) | null = null;
  let isBegun = false;
  const draw = (said: string, time: number) => {
    const text = oneLine(said);
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
    /** A line that stays. Text that was waiting to be drawn before it is dropped. */
    note(said: string): void {
      const text = oneLine(said);
      stream.write(stream.isTTY && isBegun ? `\r\x1b[K${text}\n` : `${text}\n`);
      latest = null;
      isBegun = false;
    },
    end(): void {
      if (latest) draw(latest(), now());
      if (stream.isTTY && isBegun) stream.write("\n");
      isBegun = false;
    },
  };
}

/**
 * Starts a progress line.
 * @param what what is being done, e.g. "sampling requests"
 * @param stream replaced in tests, as is the clock `now` in milliseconds
 */
export function progressLine(
  what: string,
  stream: ProgressStream = process.stderr,
  now: () => number = Date.now,
): ProgressLine {
  const line = liveLine(stream, now);
  let first: { time: number; done: number } | null = null;
  let latest = 0;
  return {
    update(done, total, own) {
      const time = now();
      if (!first || done < latest) first = { time, done };
      latest = done;
      const { time: began, done: before } = first;
      line.show(() => `${what} ${done}/${total}${pace(own ?? done - before, total - done, (time - began) / 1000)}`);
    },
    end: line.end,
  };
}

/** A training on the terminal. */
export interface TrainingDisplay {
  /** Shows the training's status; important events get a line of their own that stays. */
  update(status: TrainingStatus): void;
  /** A line that stays. */
  note(text: string): void;
  /** Ends the redrawn line. */
  end(): void;
}

/** @param stream replaced in tests, as is the clock `now` in milliseconds */
export function trainingDisplay(
  stream: ProgressStream = process.stderr,
  now: () => number = Date.now,
): TrainingDisplay {
  const line = liveLine(stream, now);
  // Where several stages are trained at the same time, one is watched until it is done.
  let watched: string | null = null;
  return {
    note: line.note,
    end: line.end,
    update(status) {
      const kept = trainingNote(status);
      if (status.event === "load" || status.event === "step") watched ??= status.stage;
      if (status.event === "done" && status.stage === watched) watched = null;
      if (kept !== null) line.note(kept);
      else if ((watched ?? status.stage) === status.stage) line.show(() => trainingLine(status));
    },
  };
}

/**
 * How far a download is, in one line.
 * @param done bytes that are there, `own` of them from this start, which took `seconds`
 * @param total null where it is not known
 */
export function downloadLine(done: number, total: number | null, own: number, seconds: number): string {
  const rate = own / Math.max(seconds, 0.001);
  if (total === null) return `download ${byteSize(done)}, ${byteSize(rate)}/s`;
  const left = own > 0 ? `, ${duration((total - done) / rate)} left` : "";
  return `download ${byteSize(done)} of ${byteSize(total)}, ${byteSize(rate)}/s${left}`;
}

/** What a million tokens cost, in dollars. */
export interface Prices {
  prompt: number;
  /** Prompt tokens from the server's prefix cache. */
  cached: number;
  completion: number;
}

/** Cost in dollars of a call's tokens, as far as the server counted them. */
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
    // The expected total cost, if the rest is like what was sampled so far.
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
