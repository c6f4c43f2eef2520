/** The line a person watches while work is done: done/total, rate, time left. Text only; no colours, no widgets. */

/** Where the line goes: a terminal gets it redrawn in place, anything else a new line now and then. */
export interface ProgressStream {
  isTTY?: boolean;
  columns?: number;
  write(text: string): unknown;
}

export interface ProgressLine {
  /** Shows how far it is; `done` counts from the start of the work, so what an earlier start did is not in the rate. */
  update(done: number, total: number): void;
  /** Shows the last state and goes to a new line. */
  end(): void;
}

/** At most four redraws a second on a terminal; a log gets a line every ten seconds. */
const interval = { terminal: 250, log: 10_000 };

/**
 * Starts a progress line.
 * @param what what is being done, e.g. "sampling requests"
 * @param now the clock in milliseconds; replaced in tests
 */
export function progressLine(what: string, stream: ProgressStream, now: () => number = Date.now): ProgressLine {
  const every = stream.isTTY ? interval.terminal : interval.log;
  let first: { time: number; done: number } | null = null;
  let shown = Number.NEGATIVE_INFINITY;
  let line = "";
  let fresh = false;

  const show = (time: number) => {
    stream.write(stream.isTTY ? `\r${line.slice(0, (stream.columns ?? 80) - 1)}\x1b[K` : `${line}\n`);
    shown = time;
    fresh = false;
  };
  return {
    update(done, total) {
      const time = now();
      first ??= { time, done };
      line = `${what} ${done}/${total}${pace(done - first.done, total - done, (time - first.time) / 1000)}`;
      fresh = true;
      if (time - shown >= every) show(time);
    },
    end() {
      if (fresh) show(now());
      if (stream.isTTY && line !== "") stream.write("\n");
    },
  };
}

/** ", 12.3/s, 4 min left", once there is something to tell from. */
function pace(done: number, left: number, seconds: number): string {
  if (done <= 0 || seconds <= 0) return "";
  const rate = done / seconds;
  return `, ${rate >= 10 ? rate.toFixed(0) : rate.toFixed(1)}/s, ${duration(left / rate)} left`;
}

/** 42 s, 7 min, 3.2 h. */
export function duration(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
