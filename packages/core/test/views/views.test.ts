import { describe, expect, test } from 'vitest';
import type { StoreOpenOptions } from '../../src/contracts/store-open.js';
import { memoryDatabase, memoryStore } from '../../src/memory/index.js';
import { elapse, turns } from '../support/shop.js';
import { books, openLists } from './lists.js';

describe('a view', () => {
  test('is loaded once, and then read from the cache', async () => {
    const { items, lists, loads, lockstep } = openLists();
    await items.put('1', { category: 'books', name: 'a' });
    expect(await lists.get(books)).toEqual(['a']);
    await lockstep.drain();
    expect(await lists.get(books)).toEqual(['a']);
    expect(loads).toEqual(['books']);
  });

  test('has the row that enters, and not the one that leaves, after an acknowledged write (G2)', async () => {
    const { items, join, lists, loads, lockstep } = openLists();
    const other = join();
    await items.put('1', { category: 'books', name: 'a' });
    await items.put('2', { category: 'toys', name: 'b' });
    for (const each of [lists, other.lists]) {
      await each.get(books);
      await lockstep.drain();
    }
    await items.put('2', { category: 'books', name: 'b' });
    expect(await other.lists.get(books)).toEqual(['a', 'b']);
    await other.lockstep.drain();
    await items.patch('1', { category: 'toys' });
    expect(await lists.get(books)).toEqual(['b']);
    await lockstep.drain();
    await other.items.delete('2');
    expect(await lists.get(books)).toEqual([]);
    expect(loads.length).toBe(4);
  });

  test('is loaded anew by no write of other rows', async () => {
    const { items, lists, loads, lockstep } = openLists();
    await items.put('1', { category: 'books', name: 'a' });
    await lists.get(books);
    await lockstep.drain();
    await items.put('2', { category: 'toys', name: 'b' });
    await items.delete('2');
    await lists.get(books);
    expect(loads).toEqual(['books']);
  });

  test('follows foreign writes once the relay has them', async () => {
    const { items, lists, lockstep, rows, clock } = openLists();
    await items.put('1', { category: 'books', name: 'a' });
    await lists.get(books);
    await lockstep.drain();
    await rows.foreignWrite('1', { category: 'toys', name: 'a' });
    const relay = lockstep.startRelay();
    await turns();
    expect(relay.status().handled).toBe(1);
    expect(await lists.get(books)).toEqual([]);
    await elapse(clock, relay.stop());
  });

  test('that a write has overtaken is not cached as current', async () => {
    const { gates, items, lists, lockstep } = openLists();
    await items.put('1', { category: 'books', name: 'a' });
    const { promise, resolve } = Promise.withResolvers<void>();
    gates.push(promise);
    const reading = lists.get(books);
    await turns();
    await items.put('2', { category: 'books', name: 'b' });
    resolve();
    expect(await reading).toEqual(['a']);
    await lockstep.drain();
    expect(await lists.get(books)).toEqual(['a', 'b']);
  });

  test('that is loaded already serves no reader who began behind a write', async () => {
    const { gates, items, lists } = openLists();
    await items.put('1', { category: 'books', name: 'a' });
    const { promise, resolve } = Promise.withResolvers<void>();
    gates.push(promise);
    const first = lists.get(books);
    await turns();
    await items.put('2', { category: 'books', name: 'b' });
    const second = lists.get(books);
    await turns();
    resolve();
    expect(await first).toEqual(['a']);
    expect(await second).toEqual(['a', 'b']);
  });

  test('is loaded once for all who ask at the same time', async () => {
    const { clock, items, join, lists, loads, lockstep } = openLists();
    await items.put('1', { category: 'books', name: 'a' });
    await lists.get(books);
    await lockstep.drain();
    await items.put('1', { category: 'books', name: 'b' });
    const other = join();
    const reading = [lists, other.lists].flatMap((each) => Array.from({ length: 20 }, () => each.get(books)));
    for (const names of await elapse(clock, Promise.all(reading))) expect(names).toEqual(['b']);
    expect(loads.length).toBe(2);
  });

  test('whose tag was evicted is loaded anew', async () => {
    const { items, lists, loads, lockstep, memory } = openLists();
    await items.put('1', { category: 'books', name: 'a' });
    await lists.get(books);
    await lockstep.drain();
    for await (const { key } of memory.scan('wtc:items%t:', 'utf8')) memory.evict(key);
    await lists.get(books);
    expect(loads.length).toBe(2);
  });

  test('may depend on single rows, on all, and on what another view depends on', async () => {
    const { items, loads, lists, lockstep } = openLists();
    const counts: string[] = [];
    const view = (name: string, dependsOn: Parameters<typeof lockstep.view>[0]['dependsOn']) =>
      lockstep.view({ name, load: () => counts.push(name), dependsOn });
    const one = view('one', () => items.id('1'));
    const any = view('any', () => [items.any()]);
    const outer = view('outer', () => lists.of(books));
    const all = async () => {
      for (const each of [one, any, outer]) await each.get(undefined);
      await lockstep.drain();
      return counts.splice(0);
    };
    await items.put('1', { category: 'toys', name: 'a' });
    expect(await all()).toEqual(['one', 'any', 'outer']);
    expect(await all()).toEqual([]);
    await items.put('1', { category: 'toys', name: 'b' });
    expect(await all()).toEqual(['one', 'any']);
    await items.put('2', { category: 'books', name: 'c' });
    expect(await all()).toEqual(['any', 'outer']);
    expect(loads).toEqual([]);
  });

  test('may depend on what its loads find', async () => {
    const { items, lockstep } = openLists();
    let loaded = 0;
    const found = lockstep.view<undefined, string[]>({
      name: 'found',
      load: async () => {
        loaded++;
        const [first, second] = await items.getMany(['1', '2']);
        return [first?.name ?? '-', ...(first?.name === 'both' ? [second?.name ?? '-'] : [])];
      },
      dependsOn: (_, names) => (names?.[0] === 'both' ? [items.id('1'), items.id('2')] : items.id('1')),
    });
    await items.put('1', { category: 'books', name: 'both' });
    await items.put('2', { category: 'books', name: 'b' });
    expect(await found.get(undefined)).toEqual(['both', 'b']);
    await lockstep.drain();
    expect(loaded).toBe(2);
    expect(await found.get(undefined)).toEqual(['both', 'b']);
    expect(loaded).toBe(2);
    await items.put('2', { category: 'books', name: 'c' });
    expect(await found.get(undefined)).toEqual(['both', 'c']);
  });

  test('is not served where a table that only its load has found is not kept in step any more', async () => {
    const { clock, join } = openLists();
    const database = memoryDatabase({ name: 'other', clock, feedGraceMs: 0 });
    const rows = memoryStore<string>({ name: 'authors', database });
    const joinFound = () => {
      const told: StoreOpenOptions[] = [];
      const { items, lockstep } = join();
      const store = { ...rows, open: async (options: StoreOpenOptions = {}) => void told.push(options) };
      const authors = lockstep.collection({ name: 'authors', store, tags: [] });
      const found = lockstep.view<undefined, string | undefined>({
        name: 'found',
        load: async () => (await rows.read(['x'], { timeoutMs: 1_000, primary: true }))[0]?.value,
        dependsOn: (_, name) => (name === undefined ? items.id('1') : [items.id('1'), authors.id('x')]),
      });
      return { authors, found, lockstep, told };
    };
    const { authors, found, told } = joinFound();
    const late = joinFound();
    await authors.put('x', 'first');
    await found.get(undefined);
    told[0]?.onKept?.(false, 'it is detached');
    await turns();
    // Another process has not noticed.
    expect(await late.found.get(undefined)).toBe('first');
    await late.lockstep.drain();
    await rows.foreignWrite('x', 'second');
    expect(await late.found.get(undefined)).toBe('first');
    expect(await found.get(undefined)).toBe('second');
  });
});
