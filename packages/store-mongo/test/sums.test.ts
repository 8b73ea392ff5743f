import { createLockstep } from '@lockstep/core';
import { memoryCache } from '@lockstep/core/memory';
import { Decimal128, type Document, Double, Long } from 'mongodb';
import { expect, test } from 'vitest';
import { testServer } from './support/server.js';

const server = testServer();
const dec = (text: string) => Decimal128.fromString(text);

test.each<[string, unknown, (number | bigint | string)[], unknown[], number]>([
  ['int', 0, [1, 1, 1], [1, 2, 3], 2],
  ['an int that becomes a long', 2 ** 31 - 2, [1, 1], [2 ** 31 - 1, 2 ** 31], 1],
  ['a whole double', new Double(5), [1, 2], [6, 8], 1],
  ['a double', 0.1, [1, 0.2], [1.1, 1.3], 0],
  ['a double beyond its whole numbers', new Double(2 ** 53), [1, 1], [2 ** 53, 2 ** 53], 0],
  [
    'long',
    Long.fromString('9007199254740991'),
    [2n, '2'],
    [Long.fromString('9007199254740993'), Long.fromString('9007199254740995')],
    0,
  ],
  ['decimal', dec('0'), [0.1, '0.20', 1n], [dec('0.1'), dec('0.30'), dec('1.30')], 0],
  ['text', 'x', [1, 1], ['refused', 'refused'], 0],
])('increments that travel together are exact: %s', async (_what, start, amounts, expected, coalesced) => {
  const store = await server.store();
  const things = store.collection<Document, string>('things');
  await store.attach([things]);
  const lockstep = createLockstep({ cache: memoryCache() });
  for (const coalesce of [true, false]) {
    const name = `things-${coalesce}`;
    const counters = lockstep.collection({ name, store: things, batch: { coalesce } });
    await counters.put(name, { _id: name, v: start });
    const calls = await Promise.allSettled(amounts.map((by) => counters.increment(name, 'v', by)));
    const values = calls.map((call) => (call.status === 'fulfilled' ? call.value.value?.['v'] : 'refused'));
    expect(values).toEqual(expected);
    expect((await counters.get(name, { fresh: true }))?.['v']).toEqual(
      expected.at(-1) === 'refused' ? start : expected.at(-1),
    );
    const merged = calls.filter((call) => call.status === 'fulfilled' && call.value.coalesced).length;
    expect(merged).toBe(coalesce ? coalesced : 0);
  }
  await lockstep.drain();
});
