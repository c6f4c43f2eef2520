/** When to stop asking a server that fails: soon if it is dead, late if it only fails now and then. Pure. */
import { RefusedError, type ServerError, UnreachableError } from "../errors.js";

/** Failures in a row that end the work. */
const limits = { unreachable: 3, failed: 100 };

/** Watches how the requests of one piece of work end. */
export interface CircuitBreaker {
  /** A request succeeded, now or in an earlier session. */
  succeeded(): void;
  /** A request failed. @returns whether there is no point in going on */
  opensOn(error: ServerError): boolean;
}

/**
 * Starts closed. A refusal before anything was sampled means that the work is set up wrongly; later it may concern one
 * state only, such as a prompt longer than the context. A key, an address or a model that is refused ends the work at
 * any time.
 */
export function circuitBreaker(): CircuitBreaker {
  let any = false;
  let unreachable = 0;
  let failed = 0;
  return {
    succeeded() {
      any = true;
      unreachable = failed = 0;
    },
    opensOn(error) {
      failed++;
      unreachable = error instanceof UnreachableError ? unreachable + 1 : 0;
      return (
        unreachable >= limits.unreachable ||
        failed >= limits.failed ||
        (error instanceof RefusedError && (!any || [401, 403, 404].includes(error.status)))
      );
    },
  };
}
