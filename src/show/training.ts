/** A training on the terminal: a line redrawn in place where there is one to redraw, else a new line now and then. */

import { type TrainingStatus, trainingLine, trainingNote } from "../train/status.js";
import type { ProgressStream } from "./progress.js";

export interface TrainingDisplay {
  /** Shows where the training stands; what is worth keeping gets a line of its own. */
  update(status: TrainingStatus): void;
  /** A line that stays. */
  note(text: string): void;
  /** Leaves the redrawn line behind. */
  end(): void;
}

/** At most four redraws a second on a terminal; a log gets a line every ten seconds. */
const interval = { terminal: 250, log: 10_000 };

/** @param now the clock in milliseconds; replaced in tests */
export function trainingDisplay(stream: ProgressStream, now: () => number = Date.now): TrainingDisplay {
  const every = stream.isTTY ? interval.terminal : interval.log;
  let shown = Number.NEGATIVE_INFINITY;
  let drawn = false;
  // Of several stages that are trained at a time one is watched until it is done.
  let watched: string | null = null;
  const note = (text: string) => {
    stream.write(drawn ? `\r\x1b[K${text}\n` : `${text}\n`);
    drawn = false;
  };
  return {
    note,
    update(status) {
      const kept = trainingNote(status);
      if (status.event === "load" || status.event === "step") watched ??= status.stage;
      if (status.event === "done" && status.stage === watched) watched = null;
      if (kept !== null) return note(kept);
      if (now() - shown < every || (watched ?? status.stage) !== status.stage) return;
      shown = now();
      const line = trainingLine(status);
      if (!stream.isTTY) return note(line);
      stream.write(`\r${line.slice(0, (stream.columns ?? 80) - 1)}\x1b[K`);
      drawn = true;
    },
    end() {
      if (drawn) stream.write("\n");
      drawn = false;
    },
  };
}
