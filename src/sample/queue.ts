/**
 * The requests that are waiting, and which goes first. Pure.
 *
 * While there are questions to come, deeper states go first: trees are finished early, so that few are open at a time,
 * and the server still has their prefix in its cache. Once the last question has been opened, shallower ones go first:
 * a root left to the end would have three roles speak one after the other while everything else idles. The last work of
 * all should be work that nothing else depends on.
 */
export class Queue<State> {
  /** Waiting states by depth, each oldest first. */
  private readonly depths: { states: State[]; head: number }[];
  private order: "deep" | "wide";

  /** @param order `wide`: shallower states always go first */
  constructor(depths: number, order: "deep" | "wide") {
    this.depths = Array.from({ length: depths }, () => ({ states: [], head: 0 }));
    this.order = order;
  }

  /** How many states wait. */
  get size(): number {
    return this.depths.reduce((sum, { states, head }) => sum + states.length - head, 0);
  }

  /** @param depth 0 for the first role's */
  add(state: State, depth: number): void {
    this.depths[depth]!.states.push(state);
  }

  /** Takes the state to ask next. */
  next(): State | undefined {
    const waits = ({ states, head }: { states: State[]; head: number }) => head < states.length;
    const queue = this.order === "deep" ? this.depths.findLast(waits) : this.depths.find(waits);
    if (!queue) return undefined;
    const state = queue.states[queue.head++];
    // Taken states are removed from time to time, so that neither time nor memory grows with them.
    if (queue.head >= 1024 && 2 * queue.head >= queue.states.length) {
      queue.states.splice(0, queue.head);
      queue.head = 0;
    }
    return state;
  }

  /** There will be no further question. */
  last(): void {
    this.order = "wide";
  }
}
