import type { Logger } from 'pino';
import { expect, test } from 'vitest';
import { GatheredLog } from '../src/gathered-log.js';
import { logReadiness } from '../src/readiness-log.js';

/** Keeps what was logged. */
function recording(): { readonly lines: unknown[][]; readonly logger: Logger } {
  const lines: unknown[][] = [];
  const add = (...args: unknown[]): void => void lines.push(args);
  return { lines, logger: { warn: add, info: add } as unknown as Logger };
}

test('repeated failures are counted, and told once in half a minute', () => {
  const { lines, logger } = recording();
  let nowMs = 0;
  const failures = new GatheredLog(logger, () => nowMs);
  const refused = (): Error => new Error('connect ECONNREFUSED');
  for (; nowMs < 65_000; nowMs += 200) failures.warn({ where: 'relay', err: refused() }, 'failed');
  failures.warn({ where: 'relay', err: new Error('another') }, 'failed');
  expect(lines).toEqual([
    [{ where: 'relay', err: refused() }, 'failed'],
    [{ where: 'relay', error: 'connect ECONNREFUSED', times: 150, forMs: 30_000 }, 'failed again'],
    [{ where: 'relay', error: 'connect ECONNREFUSED', times: 150, forMs: 30_000 }, 'failed again'],
    [{ where: 'relay', err: new Error('another') }, 'failed'],
  ]);
});

test('kinds of failures are bounded: the oldest is forgotten', () => {
  const { lines, logger } = recording();
  const failures = new GatheredLog(logger, () => 0);
  for (let i = 0; i <= 100; i += 1) failures.warn({ where: String(i), err: 'x' }, 'failed');
  failures.warn({ where: '100', err: 'x' }, 'failed');
  expect(lines).toHaveLength(101);
  failures.warn({ where: '0', err: 'x' }, 'failed');
  expect(lines).toHaveLength(102);
});

test('what keeps a worker from being ready is told at once', async () => {
  const { lines, logger } = recording();
  const problems = ['cache redis: connect ECONNREFUSED 127.0.0.1:1'];
  const health = { status: async () => ({ problems }) };
  const stop = logReadiness(health as unknown as Parameters<typeof logReadiness>[0], logger);
  await expect.poll(() => lines).toEqual([[{ problems }, 'not ready']]);
  stop();
});
