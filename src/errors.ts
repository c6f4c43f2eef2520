/**
 * One hierarchy of errors. A message says what is wrong, the value received and what to do; a caller may show
 * `error.message` alone.
 */

/** Base of every error this project raises on purpose. The command line prints its message as one line, exit code 1. */
export class MaltError extends Error {
  override name = "MaltError";
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

/** The server understood the request and refuses it (HTTP 4xx) or sends it elsewhere (3xx), so a retry would not help. */
export class RefusedError extends ServerError {
  override name = "RefusedError";
  /** @param status the HTTP status, 300–499 */
  constructor(
    message: string,
    readonly status: number,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** A run folder is not what was expected: other parameters, a second writer, a damaged journal, a full disk. */
export class RunError extends MaltError {
  override name = "RunError";
}
