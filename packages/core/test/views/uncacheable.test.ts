import { describe, expect, test } from 'vitest';
import { elapse, turns } from '../support/shop.js';
import { books, openLists } from './lists.js';

const LONG = 'x'.repeat(200);

/** Lists that no entry holds, and processes that know it. */
async function openLong(processes = 1) {
  const shop = openLists({ maxPayloadBytes: 100 });
  const all = [shop, ...Array.from({ length: processes - 1 }, () => shop.join())];
  await shop.items.put('1', { category: 'books', name: LONG });
  for (const { lists, lockstep } of all) {
    await elapse(shop.clock, lists.get(books));
    await elapse(shop.clock, lockstep.drain());
  }
  shop.loads.length = 0;
  return { ...shop, all };
}

describe('a view that can’t be cached', () => {
  test('is loaded once for all who ask at once, in each process, and nobody waits for another’s lease', async () => {
    const { all, loads, memory } = await openLong(3);
    const reads = all.flatMap(({ lists }) => Array.from({ length: 100 }, () => lists.get(books)));
    // The clock stands still: none of them waits for a time.
    for (const names of await Promise.all(reads)) expect(names).toEqual([LONG]);
    expect(loads).toHaveLength(all.length);
    expect((await memory.read(['wtc:list:books'], 'utf8'))[0]).toBeUndefined();
  });

  test('is loaded once for who comes while it is loaded', async () => {
    const { gates, lists, loads } = await openLong();
    const { promise, resolve } = Promise.withResolvers<void>();
    gates.push(promise);
    const reads = [lists.get(books)];
    for (let i = 0; i < 20; i++) {
      await turns();
      reads.push(lists.get(books));
    }
    await turns();
    resolve();
    for (const names of await Promise.all(reads)) expect(names).toEqual([LONG]);
    expect(loads).toHaveLength(1);
  });

  test('serves no reader who began behind a write (G2), and those share the next load', async () => {
    const { gates, items, lists, loads } = await openLong();
    const { promise, resolve } = Promise.withResolvers<void>();
    gates.push(promise);
    const first = lists.get(books);
    await turns();
    await items.put('2', { category: 'books', name: 'b' });
    const behind = Array.from({ length: 20 }, () => lists.get(books));
    await turns();
    resolve();
    expect(await first).toEqual([LONG]);
    for (const names of await Promise.all(behind)) expect(names).toEqual(['b', LONG]);
    expect(loads).toHaveLength(2);
  });

  test('is cached once it can be', async () => {
    const { clock, items, lists, loads, lockstep } = await openLong();
    await items.put('1', { category: 'books', name: 'a' });
    clock.advance(5_000);
    await elapse(clock, lists.get(books));
    await elapse(clock, lockstep.drain());
    const count = loads.length;
    expect(await elapse(clock, lists.get(books))).toEqual(['a']);
    expect(loads).toHaveLength(count);
  });
});
