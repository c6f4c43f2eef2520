/** Finds words in the texts, packet by packet, so that only one is unpacked at a time. */

export interface Search {
  /** Items that hold the words so far, each with the numbers of its texts that do; null stands for all of them. */
  hits: Map<number, ReadonlySet<number> | null>;
  done: number;
  total: number;
}

/**
 * Looks through items in order. A new search or an empty one ends it.
 * @param look the texts of an item, and those that concern it as a whole
 * @param onProgress called a few times a second and at the end
 */
export function searcher(
  total: number,
  look: (item: number) => Promise<{ whole: readonly string[]; texts: readonly string[] }>,
  onProgress: () => void,
) {
  let current: (Search & { words: string }) | null = null;
  return {
    /** The running or finished search; null if nothing is looked for. */
    latest: (): Search | null => current,
    async start(words: string): Promise<void> {
      const wanted = words.trim().toLowerCase();
      if (wanted === (current?.words ?? "")) return;
      if (wanted === "") {
        current = null;
        return onProgress();
      }
      const search = { words: wanted, hits: new Map<number, ReadonlySet<number> | null>(), done: 0, total };
      current = search;
      const has = (text: string) => text.toLowerCase().includes(wanted);
      let shown = performance.now();
      onProgress();
      for (let item = 0; item < total; item++) {
        const { whole, texts } = await look(item);
        if (current !== search) return;
        const found = new Set(texts.flatMap((text, i) => (has(text) ? [i] : [])));
        if (whole.some(has)) search.hits.set(item, null);
        else if (found.size > 0) search.hits.set(item, found);
        search.done++;
        if (performance.now() - shown < 300) continue;
        shown = performance.now();
        onProgress();
      }
      onProgress();
    },
  };
}
