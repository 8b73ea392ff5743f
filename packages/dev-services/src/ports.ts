import { randomInt } from 'node:crypto';
import getPort from 'get-port';
import { DevServicesError } from './errors.js';

/** The host that everything binds. */
export const LOOPBACK = '127.0.0.1';

/**
 * Below every system's range of ephemeral ports: there, a client that keeps reconnecting to a dead server's
 * port can be given that very port as its own and then connects to itself. The cluster bus takes port + 10000,
 * which stays below that range, too.
 */
const FIRST = 10_500;
const LAST = 22_500;

/** A port that was free a moment ago; the caller retries with another when it lost a race for it. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 5; attempt += 1) {
    const candidates = Array.from({ length: 40 }, () => randomInt(FIRST, LAST));
    const port = await getPort({ host: LOOPBACK, port: candidates });
    if (candidates.includes(port)) return port;
  }
  throw new DevServicesError('DEV_SERVICES_START_FAILED', `No free port between ${FIRST} and ${LAST}`);
}
