/**
 * One hierarchy of errors. A message says what is wrong, the value received and what to do; a caller may show
 * `error.message` alone. It may quote a server or a file, so it is made visible here: a notebook's kernel prints it as it is.
 */
import { visible } from "./visible.js";

/** Base of every error this project raises on purpose. The command line prints its message as one line, exit code 1. */
export class MaltError extends Error {
  override name = "MaltError";
  constructor(message?: string, options?: ErrorOptions) {
    super(message === undefined ? message : visible(message), options);
  }
}

/** The caller's input or options are wrong: a file, a field, a flag, a run name. */
export class InputError extends MaltError {
  override name = "InputError";
}

/** The sampling server cannot be reached, or answered with something that is not a completion. */
export class ServerError extends MaltError {
  override name = "ServerError";
}

/** No answer came at all: no server listens at the address, or the connection broke. */
export class UnreachableError extends ServerError {
  override name = "UnreachableError";
}

/**
 * Why a server refuses a request for good, as far as its status and words tell (policy/refusal.ts). `key`, `payment`,
 * `address` and both about templates concern every request alike; `context` and `filter` one question alone; `forbidden`
 * and `request` may be either.
 */
export type Refusal =
  | "key"
  | "payment"
  | "address"
  | "system message"
  | "template"
  | "forbidden"
  | "context"
  | "filter"
  | "request";

/** The server understood the request and refuses it, mostly with HTTP 4xx, or sends it elsewhere (3xx); a retry would not help. */
export class RefusedError extends ServerError {
  override name = "RefusedError";
  readonly refusal: Refusal;
  /** @param status the HTTP status, ≥ 300 */
  constructor(
    message: string,
    readonly status: number,
    options?: ErrorOptions & { refusal?: Refusal },
  ) {
    super(message, options);
    const byStatus: Record<number, Refusal> = { 401: "key", 402: "payment", 403: "forbidden", 404: "address" };
    this.refusal = options?.refusal ?? byStatus[status] ?? "request";
  }
}

/** Some questions were refused for good. All others have been sampled, so what follows may go on without them. */
export class IncompleteError extends ServerError {
  override name = "IncompleteError";
}

/** A run folder is not what was expected: other parameters, a second writer, a damaged journal, a full disk. */
export class RunError extends MaltError {
  override name = "RunError";
}
