/** What a client meets that speaks TLS to a server that does not: nobody answers its greeting, or somebody does in plain text. */
const SPEAKS_TO_PLAIN =
  /ETIMEDOUT|Command timed out|Socket timeout|closed|EPROTO|wrong version number|packet length too long|disconnected before secure/;
/** What one meets that speaks plain text to a server that wants TLS: it hangs up, or waits for a greeting. */
const PLAIN_TO_TLS = /EPIPE|ECONNRESET|Command timed out|Socket timeout|closed/;

/**
 * Words for a connection that fails as one does where only one side speaks TLS; empty where nothing speaks for that. No
 * cause at all is what a server leaves that hangs up, or says nothing.
 */
export function tlsHint(speaksTls: boolean, cause: Error | undefined): string {
  const message = cause?.message ?? 'closed';
  if (speaksTls) {
    return SPEAKS_TO_PLAIN.test(message) ? ' (it is asked by TLS: does the server speak TLS?)' : '';
  }
  return PLAIN_TO_TLS.test(message) ? ' (it is asked without TLS: does the server want TLS? rediss://)' : '';
}
