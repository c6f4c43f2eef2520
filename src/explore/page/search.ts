/** Finds words in the texts, a few packets at a time, so that never all of them are unpacked. */
import { thousands } from "../../format.js";

export interface TextSearch {
  /** Items that hold the words so far, each with the numbers of its texts that do; null stands for all of them. */
  hits: Map<number, ReadonlySet<number> | null>;
  done: number;
  total: number;
}

/** Packets that are unpacked side by side. */
const atOnce = 16;

/**
 * Looks through items in order. A new search or an empty one ends it.
 * @param look the texts of an item, and those that concern it as a whole
 * @param onProgress called about once a second, and with true at the start and the end
 */
export function searcher(
  total: number,
  look: (item: number) => Promise<{ whole: readonly string[]; texts: readonly string[] }>,
  onProgress: (isChange: boolean) => void,
) {
  let current: (TextSearch & { words: string }) | null = null;
  return {
    /** The running or finished search; null if nothing is looked for. */
    latest: (): TextSearch | null => current,
    /** How far a running search is, to be added to a count; empty if none is running. */
    progress: (): string =>
      current !== null && current.done < current.total
        ? `; searched ${thousands(current.done)} of ${thousands(current.total)}`
        : "",
    async start(words: string): Promise<void> {
      const wanted = words.trim().toLowerCase();
      if (wanted === (current?.words ?? "")) return;
      if (wanted === "") {
        current = null;
        return onProgress(true);
      }
      const search = { words: wanted, hits: new Map<number, ReadonlySet<number> | null>(), done: 0, total };
      current = search;
      const has = (text: string) => text.toLowerCase().includes(wanted);
      let shown = performance.now();
      onProgress(true);
      for (let from = 0; from < total; from += atOnce) {
        const items = Array.from({ length: Math.min(atOnce, total - from) }, (_, i) => from + i);
        const looked = await Promise.all(items.map(look));
        if (current !== search) return;
        for (const [i, { whole, texts }] of looked.entries()) {
          const found = new Set(texts.flatMap((text, place) => (has(text) ? [place] : [])));
          if (whole.some(has)) search.hits.set(from + i, null);
          else if (found.size > 0) search.hits.set(from + i, found);
        }
        search.done += items.length;
        if (performance.now() - shown < 1000) continue;
        onProgress(false);
        shown = performance.now();
      }
      onProgress(true);
    },
  };
}
