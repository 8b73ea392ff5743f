import { expect, test } from 'vitest';
import { tlsHint } from '../../src/kit/tls-hint.js';

test.each([
  [true, 'connect ETIMEDOUT', 'does the server speak TLS'],
  [true, 'write EPROTO …:SSL routines:ssl3_get_record:wrong version number', 'does the server speak TLS'],
  [true, 'Socket timeout. Expecting data, but did not receive any in 1000ms.', 'does the server speak TLS'],
  [true, undefined, 'does the server speak TLS'],
  [true, 'connect ECONNREFUSED 127.0.0.1:1', ''],
  [false, 'write EPIPE', 'does the server want TLS'],
  [false, 'Socket timeout. Expecting data, but did not receive any in 1000ms.', 'does the server want TLS'],
  [false, 'Command timed out', 'does the server want TLS'],
  [false, undefined, 'does the server want TLS'],
  [false, 'connect ECONNREFUSED 127.0.0.1:1', ''],
  [false, 'WRONGPASS invalid username-password pair', ''],
])('by TLS: %s, cause: %s', (speaksTls, cause, hint) => {
  const said = tlsHint(speaksTls, cause === undefined ? undefined : new Error(cause));
  if (hint === '') expect(said).toBe('');
  else expect(said).toContain(hint);
});
