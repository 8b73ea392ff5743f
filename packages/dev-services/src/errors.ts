/** Codes are stable: programs may compare them. */
export type DevServicesErrorCode =
  | 'DEV_SERVICES_NO_SERVER'
  | 'DEV_SERVICES_START_FAILED'
  | 'DEV_SERVICES_INVALID_OPTION'
  | 'DEV_SERVICES_NOT_OWNED'
  | 'DEV_SERVICES_TIMEOUT'
  | 'DEV_SERVICES_SUPERVISOR';

/**
 * Thrown by everything in this package.
 *
 * - `DEV_SERVICES_NO_SERVER`: no binary and no address was found; the message says what to install.
 * - `DEV_SERVICES_START_FAILED`: a server did not come up; the message ends with the server's own log.
 * - `DEV_SERVICES_INVALID_OPTION`: an option or environment variable is wrong; the message names it.
 * - `DEV_SERVICES_NOT_OWNED`: a fault was asked of a server that this process did not start.
 * - `DEV_SERVICES_TIMEOUT`: a bounded wait ran out; the message names what was awaited.
 * - `DEV_SERVICES_SUPERVISOR`: the process that ends the servers is gone.
 */
export class DevServicesError extends Error {
  readonly code: DevServicesErrorCode;

  constructor(code: DevServicesErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.name = 'DevServicesError';
    this.code = code;
  }
}

/** The message of anything thrown, for embedding into another message. */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') {
    return error.errors.map(messageOf).join('; ');
  }
  return error instanceof Error ? error.message : String(error);
}
