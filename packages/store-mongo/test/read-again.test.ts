import { StoreRefusedError, StoreUnavailableError } from '@lockstep/core';
import { expect, test } from 'vitest';
import { CallBound } from '../src/wire/bound.js';
import { readAgain } from '../src/wire/read-again.js';

const bound = (timeoutMs: number): CallBound => new CallBound('read', { timeoutMs });
const away = new StoreUnavailableError('a step-down', 'not-committed');

test('a read is tried until the servers have changed hands', async () => {
  let tries = 0;
  const read = async (): Promise<string> => {
    tries += 1;
    if (tries < 4) throw away;
    return 'row';
  };
  expect(await readAgain(bound(10_000), read)).toBe('row');
  expect(tries).toBe(4);
});

test('a read that stays without an answer is sent once more within its time-out', async () => {
  let sent = 0;
  const read = (): Promise<string> => {
    sent += 1;
    return sent === 1 ? new Promise(() => undefined) : Promise.resolve('row');
  };
  expect(await readAgain(bound(200), read)).toBe('row');
  expect(sent).toBe(2);
});

test('a refusal is told at once', async () => {
  let tries = 0;
  const refused = new StoreRefusedError('no');
  const reading = readAgain(bound(10_000), async () => {
    tries += 1;
    throw refused;
  });
  await expect(reading).rejects.toBe(refused);
  expect(tries).toBe(1);
});
