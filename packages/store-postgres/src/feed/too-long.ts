/** The message of a feed's call that ran into its bound. */
export function tooLong(what: string, timeoutMs: number): string {
  return `feed: ${what} took more than ${timeoutMs} ms`;
}
