/** Errors of a client that speaks TLS to a server without it: no answer to the handshake, or one in plain text. */
const SPEAKS_TO_PLAIN =
  /ETIMEDOUT|Command timed out|Socket timeout|closed|EPROTO|wrong version number|packet length too long|disconnected before secure/;
/** Errors of a client that speaks plain text to a server that wants TLS: the server hangs up, or waits for a handshake. */
const PLAIN_TO_TLS = /EPIPE|ECONNRESET|Command timed out|Socket timeout|closed/;

/**
 * A hint for an error message, where the failure is typical of a connection of which only one side speaks TLS; else
 * empty. A server that hangs up without a word leaves no cause.
 */
export function tlsHint(speaksTls: boolean, cause: Error | undefined): string {
  const message = cause?.message ?? 'closed';
  if (speaksTls) {
    return SPEAKS_TO_PLAIN.test(message) ? ' (it is asked by TLS: does the server speak TLS?)' : '';
  }
  return PLAIN_TO_TLS.test(message) ? ' (it is asked without TLS: does the server want TLS? rediss://)' : '';
}
