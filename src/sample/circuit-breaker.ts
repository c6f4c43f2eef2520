/** When to stop asking a server that fails: soon if it is dead, late if it only fails now and then. Pure. */
import { type Refusal, RefusedError, ServerError, UnreachableError } from "../errors.js";

/**
 * Failures that end the work: in a row, and before anything has succeeded the different questions that failed for the
 * same reason.
 */
const limits = { unreachable: 3, failed: 100, alike: 5 };

/** Refusals that every request would get, and those that say nothing about other questions. */
const ofAll: readonly Refusal[] = ["key", "payment", "address", "system message", "template"];
const ofOne: readonly Refusal[] = ["context", "filter"];

/** Watches how the requests of one piece of work end. */
export interface CircuitBreaker {
  /**
   * Whether to send nothing more until a request in flight has ended: several questions have failed alike and nothing
   * has succeeded yet. Refusals come much faster than completions, so those in flight may still prove the server good.
   */
  readonly isHalfOpen: boolean;
  /** A request succeeded, now or in an earlier session. */
  succeeded(): void;
  /**
   * A request failed.
   * @param others requests still in flight
   * @returns the error to stop with; null to go on
   */
  failed(error: ServerError, questionId: string, others: number): ServerError | null;
}

/**
 * Starts closed. What a server refuses concerns one state only as long as it may: a prompt longer than the context, a
 * filter. A key, an address, a model or a template that is refused ends the work at any time.
 * @param hasSucceeded whether an earlier session sampled something
 */
export function circuitBreaker(hasSucceeded = false): CircuitBreaker {
  let any = hasSucceeded;
  let unreachable = 0;
  let inRow = 0;
  const alike = new Map<string, Set<string>>();
  let doubt: ServerError | null = null;
  return {
    get isHalfOpen() {
      return doubt !== null;
    },
    succeeded() {
      any = true;
      doubt = null;
      unreachable = inRow = 0;
      alike.clear();
    },
    failed(error, questionId, others) {
      const refusal = error instanceof RefusedError ? error.refusal : null;
      unreachable = error instanceof UnreachableError ? unreachable + 1 : 0;
      if (!refusal || !ofOne.includes(refusal)) inRow++;
      if (unreachable >= limits.unreachable || inRow >= limits.failed) return error;
      if (refusal && ofAll.includes(refusal)) return error;
      if (!any) {
        const reason = reasonOf(error);
        const ids = (alike.get(reason) ?? new Set()).add(questionId);
        alike.set(reason, ids);
        if (ids.size >= limits.alike) doubt ??= gaveUp(error, ids.size);
      }
      return others === 0 ? doubt : null;
    },
  };
}

/** What failures of one kind have in common: the words without addresses, numbers and ids. */
export function reasonOf(error: ServerError): string {
  const status = error instanceof RefusedError ? error.status : 0;
  const words = error.message.replace(/https?:\S+/g, "").replace(/[\w.-]*\d[\w.-]*/g, "#");
  return `${status} ${words}`;
}

function gaveUp(error: ServerError, questions: number): ServerError {
  const message = `${error.message}; gave up, because ${questions} different questions failed alike and none succeeded`;
  if (!(error instanceof RefusedError)) return new ServerError(message, { cause: error });
  return new RefusedError(message, error.status, { cause: error, refusal: error.refusal });
}
