/**
 * The slots of a batching inference server: at most m jobs run at once, the others wait in the order of their arrival.
 * The caller supplies the time, so a timer that fires late delays no job: the next one starts when the one before
 * it ended. What it leaves out: clocks, HTTP and what a job is.
 */

/** A job in a slot, from when to when; ms. */
export interface Interval<Job> {
  job: Job;
  slot: number;
  start: number;
  end: number;
}

export class SlotQueue<Job extends { readonly ms: number }> {
  /** By slot; null where nothing runs. */
  readonly #slots: (Interval<Job> | null)[];
  /** In order of arrival. */
  readonly #waiting = new Set<Job>();
  #now = Number.NEGATIVE_INFINITY;
  running = 0;
  peakRunning = 0;
  peakWaiting = 0;

  /** @param slots ≥ 1 */
  constructor(slots: number) {
    if (!Number.isInteger(slots) || slots < 1) throw new RangeError(`slots must be an integer ≥ 1, not ${slots}`);
    this.#slots = Array(slots).fill(null);
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** When the next running job ends; null if none runs. */
  get next(): number | null {
    return this.#earliest()?.end ?? null;
  }

  /** The running jobs, by slot. */
  get intervals(): Interval<Job>[] {
    return this.#slots.filter((interval) => interval !== null);
  }

  /**
   * Adds a job. Call {@link advance} up to the same time first, so that jobs that ended earlier free their slots first.
   */
  arrive(job: Job, at: number): void {
    this.#moveTo(at);
    this.#waiting.add(job);
    this.#fill(at);
    this.peakWaiting = Math.max(this.peakWaiting, this.#waiting.size);
  }

  /** Lets time pass. @returns the jobs that have ended by then, in that order */
  advance(to: number): Interval<Job>[] {
    const ended: Interval<Job>[] = [];
    for (let first = this.#earliest(); first && first.end <= to; first = this.#earliest()) {
      ended.push(first);
      this.#release(first);
    }
    this.#moveTo(to);
    return ended;
  }

  /** Removes a job, whether it runs or waits. @returns the slot time it has used, null if none */
  cancel(job: Job, at: number): Interval<Job> | null {
    this.#moveTo(at);
    if (this.#waiting.delete(job)) return null;
    const interval = this.#slots.find((running) => running?.job === job);
    if (!interval) return null;
    const cut = { ...interval, end: at };
    this.#slots[interval.slot] = null;
    this.running--;
    this.#fill(at);
    return cut;
  }

  #release({ slot, end }: Interval<Job>): void {
    this.#slots[slot] = null;
    this.running--;
    this.#fill(end);
  }

  #fill(at: number): void {
    for (const job of this.#waiting) {
      const slot = this.running < this.#slots.length ? this.#slots.indexOf(null) : -1;
      if (slot < 0) return;
      this.#waiting.delete(job);
      this.#slots[slot] = { job, slot, start: at, end: at + job.ms };
      this.peakRunning = Math.max(this.peakRunning, ++this.running);
    }
  }

  #earliest(): Interval<Job> | null {
    let first: Interval<Job> | null = null;
    for (const interval of this.#slots) if (interval && (!first || interval.end < first.end)) first = interval;
    return first;
  }

  #moveTo(at: number): void {
    if (at < this.#now) throw new RangeError(`time went back from ${this.#now} to ${at}`);
    if (this.next !== null && this.next < at)
      throw new RangeError(`a job ended at ${this.next}: advance to ${at} first`);
    this.#now = at;
  }
}
