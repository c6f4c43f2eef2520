/** The requests that failed in one piece of work, as the line at its end says them. Pure. */
import { RefusedError, type ServerError } from "../errors.js";
import { reasonOf } from "./circuit-breaker.js";

/** How much one line names. */
const most = { reasons: 3, ids: 10 };

/** Collects failed requests. */
export interface Failures {
  add(error: ServerError, questionId: string): void;
  /** Whether some requests, or all that failed, were refused for good. */
  readonly someRefused: boolean;
  readonly onlyRefused: boolean;
  /**
   * Which questions were refused for good and would be refused again, with the server's words and what helps, and why
   * the others failed: the end of a sentence that begins with how many requests failed.
   */
  text(): string;
}

/** None at first. */
export function failures(): Failures {
  const refused = new Map<string, { error: ServerError; ids: Set<string> }>();
  let passing: ServerError | null = null;
  return {
    add(error, questionId) {
      if (!(error instanceof RefusedError)) {
        passing ??= error;
        return;
      }
      const reason = reasonOf(error);
      const group = refused.get(reason) ?? { error, ids: new Set() };
      group.ids.add(questionId);
      refused.set(reason, group);
    },
    get someRefused() {
      return refused.size > 0;
    },
    get onlyRefused() {
      return refused.size > 0 && passing === null;
    },
    text() {
      const again = (first: string) => `${first} ${passing!.message}; run the same command to ask again`;
      if (refused.size === 0) return again(", the first with:");
      const groups = [...refused.values()];
      const named = groups.slice(0, most.reasons).map(({ error, ids }) => `${listed([...ids])} (${error.message})`);
      const rest = new Set(groups.slice(most.reasons).flatMap(({ ids }) => [...ids])).size;
      const more = rest > 0 ? ` and ${rest} more for other reasons` : "";
      const others = passing ? again("; others may pass, the first failed with:") : "";
      return `; refused for good: ${named.join(", ")}${more}${others}`;
    },
  };
}

/** Ids in quotes, and the number of those beyond the first few. */
function listed(ids: readonly string[]): string {
  const named = ids.slice(0, most.ids).map((id) => JSON.stringify(id));
  const rest = ids.length - named.length;
  return `${ids.length === 1 ? "question" : "questions"} ${named.join(", ")}${rest > 0 ? ` and ${rest} more` : ""}`;
}
