import { describe, expect, test } from 'vitest';
import { ConflictError } from '../../src/errors.js';
import { refuse } from '../../src/faults/index.js';
import { memoryQueue } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { elapse, turns } from '../support/shop.js';
import { books, openLists } from './lists.js';

describe('a view', () => {
  test('is read in a transaction there, and fills nothing', async () => {
    const { items, lockstep } = openLists();
    const loaded: unknown[] = [];
    const view = lockstep.view<string, unknown>({
      name: 'inside',
      load: async (id, { client, tx }) => {
        loaded.push(tx === undefined ? 'outside' : 'inside');
        if (tx === undefined) return 'outside';
        return await (client as { get(table: string, key: string): Promise<unknown> }).get('items', id);
      },
      dependsOn: (id) => items.id(id),
    });
    await lockstep.transaction(async (tx) => {
      await items.put('1', { category: 'books', name: 'a' }, { tx });
      expect(await view.get('1', { tx })).toEqual({ category: 'books', name: 'a' });
    });
    expect(await view.get('1')).toBe('outside');
    expect(loaded).toEqual(['inside', 'outside']);
  });

  test('has what a transaction has committed, by whatever statement', async () => {
    const { items, lists, lockstep } = openLists();
    await items.put('1', { category: 'books', name: 'a' });
    await lists.get(books);
    await lockstep.drain();
    await lockstep.transaction(async (tx) => {
      await items.put('2', { category: 'books', name: 'b' }, { tx });
      const client = tx.client as { delete(table: string, key: string): Promise<boolean> };
      await client.delete('items', '1');
    });
    expect(await lists.get(books)).toEqual(['b']);
  });

  test('stays where a call has written nothing', async () => {
    const { items, lists, loads, lockstep } = openLists();
    const { version } = await items.put('1', { category: 'books', name: 'a' });
    const lost = { ifVersion: version - 2 };
    const calls: Record<string, () => Promise<unknown>> = {
      put: () => items.put('1', { category: 'toys', name: 'b' }, lost),
      insert: () => items.put('1', { category: 'toys', name: 'b' }, { ifVersion: null }),
      patch: () => items.patch('1', { name: 'b' }, lost),
      delete: () => items.delete('1', lost),
      'write of a row': () => items.write('1', async () => {}),
      'write of no row': () => items.write('2', async () => {}),
    };
    for (const [name, call] of Object.entries(calls)) {
      await lists.get(books);
      await lockstep.drain();
      const before = loads.length;
      await call().catch((error) => expect(error, name).toBeInstanceOf(ConflictError));
      await lists.get(books);
      expect(loads.length - before, name).toBe(0);
    }
    // Negative control.
    await items.write('1', async (tx) => {
      await (tx as { delete(table: string, key: string): Promise<boolean> }).delete('items', '1');
    });
    expect(await lists.get(books)).toEqual([]);
  });

  test('refresh loads whatever is cached, and invalidate drops it', async () => {
    const { items, lists, loads, lockstep, rows } = openLists();
    await items.put('1', { category: 'books', name: 'a' });
    await lists.get(books);
    await lockstep.drain();
    await rows.foreignWrite('1', { category: 'books', name: 'b' });
    expect(await lists.get(books)).toEqual(['a']);
    expect(await lists.refresh(books)).toEqual(['b']);
    await lockstep.drain();
    expect(await lists.get(books)).toEqual(['b']);
    await rows.foreignWrite('1', { category: 'books', name: 'c' });
    expect(await lists.invalidate(books)).toBe('invalidated');
    expect(await lists.get(books)).toEqual(['c']);
    expect(loads.length).toBe(3);
  });

  test('verify finds what depends on more than it names', async () => {
    const { items, lists, clock, lockstep, rows } = openLists();
    expect(await lists.verify(books)).toEqual({ outcome: 'absent' });
    await items.put('1', { category: 'books', name: 'a' });
    await lists.get(books);
    await lockstep.drain();
    expect(await lists.verify(books)).toEqual({ outcome: 'same' });
    await rows.foreignWrite('1', { category: 'books', name: 'b' });
    expect(await elapse(clock, lists.verify(books))).toEqual({
      outcome: 'different',
      cached: ['a'],
      loaded: ['b'],
    });
    const verifying = lists.verify(books);
    await turns();
    await items.put('2', { category: 'books', name: 'c' });
    expect(await elapse(clock, verifying)).toEqual({ outcome: 'changing' });
  });

  test('keeps undefined, null and dates, and gives each reader its own', async () => {
    const { items, lockstep } = openLists();
    const at = new Date(1_000);
    const values: Record<string, unknown> = { u: undefined, n: null, d: { at } };
    const view = lockstep.view<string, unknown>({
      name: 'values',
      load: (name) => values[name],
      dependsOn: () => items.any(),
    });
    for (const name of Object.keys(values)) {
      for (let i = 0; i < 2; i++) {
        const value = await view.get(name);
        expect(value).toEqual(values[name]);
        await lockstep.drain();
      }
    }
  });

  test('is loaded by everybody, and cached by nobody, while the cache is away', async () => {
    const { clock, items, lists, loads, lockstep, plan } = openLists();
    await items.put('1', { category: 'books', name: 'a' });
    await lists.get(books);
    await lockstep.drain();
    plan.always('read', refuse());
    plan.always('execute', refuse());
    expect(await elapse(clock, lists.get(books))).toEqual(['a']);
    expect(loads.length).toBe(2);
    const written = await elapse(clock, items.put('2', { category: 'books', name: 'b' }));
    expect(written.cache).toBe('deferred');
    expect(await elapse(clock, lists.get(books))).toEqual(['a', 'b']);
  });

  test('rejects as its load does, and tries again', async () => {
    let fails = true;
    const { lists, lockstep } = openLists({
      load: () => {
        if (fails) throw new RangeError('no such list');
        return ['a'];
      },
    });
    await expect(lists.get(books)).rejects.toThrow(new RangeError('no such list'));
    fails = false;
    await lockstep.drain();
    expect(await lists.get(books)).toEqual(['a']);
  });

  test('that finds more with each load is loaded four times, and not cached', async () => {
    let count = 0;
    const { items, lockstep } = openLists();
    const errors: unknown[] = [];
    lockstep.events.on('error', ({ error }) => void errors.push(error));
    const view = lockstep.view<undefined, number>({
      name: 'growing',
      load: () => ++count,
      dependsOn: (_, found = 0) => Array.from({ length: found + 1 }, (__, i) => items.id(String(i))),
    });
    expect(await view.get(undefined)).toBe(4);
    await lockstep.drain();
    expect(errors).toHaveLength(1);
    expect(await view.get(undefined)).toBe(8);
  });

  test('that was cached under another generation of the cache is loaded anew', async () => {
    const { clock, items, lists, loads, lockstep, server } = openLists();
    await items.put('1', { category: 'books', name: 'a' });
    await lists.get(books);
    await lockstep.drain();
    await lists.get(books);
    expect(loads.length).toBe(1);
    server.generation = 'after a failover';
    clock.advance(2_000);
    await lists.get(books);
    expect(loads.length).toBe(2);
    await lockstep.drain();
    await lists.get(books);
    expect(loads.length).toBe(2);
  });

  test('is loaded anew once its tag is invalidated, or a row that something has changed unseen', async () => {
    const { items, lists, loads, lockstep } = openLists();
    await items.put('1', { category: 'books', name: 'a' });
    const load = async () => {
      await lists.get(books);
      await lockstep.drain();
      return loads.splice(0).length;
    };
    expect(await load()).toBe(1);
    expect(await items.invalidateTag({ category: 'toys' })).toBe('invalidated');
    expect(await load()).toBe(0);
    expect(await items.invalidateTag({ category: 'books' })).toBe('invalidated');
    expect(await load()).toBe(1);
    await items.invalidate('1');
    expect(await load()).toBe(1);
    await items.invalidateAll();
    expect(await load()).toBe(1);
    expect(await load()).toBe(0);
    await expect(items.invalidateTag({ name: 'a' })).rejects.toThrow(/not among the tags/);
  });

  test('sees a buffered write once it is flushed', async () => {
    const { clock, loads, lockstep, namesOf, rows } = openLists();
    const buffered = lockstep.collection({
      name: 'buffered',
      store: rows,
      additional: true,
      tags: ['category'],
      strategy: 'write-behind',
      burst: { maxClockSkewMs: 0 },
    });
    const view = lockstep.view<undefined, string[]>({
      name: 'of-buffered',
      load: () => namesOf('books'),
      dependsOn: () => buffered.where({ category: 'books' }),
    });
    await elapse(clock, buffered.put('1', { category: 'toys', name: 'a' }));
    await elapse(clock, buffered.flush());
    expect(await view.get(undefined)).toEqual([]);
    await lockstep.drain();
    const written = await elapse(clock, buffered.put('1', { category: 'books', name: 'b' }));
    expect(written.store).toBe('buffered');
    await elapse(clock, buffered.flush());
    expect(await view.get(undefined)).toEqual(['b']);
    expect(loads).toEqual([]);
  });

  test('with flushFirst sees a buffered write once it is acknowledged', async () => {
    const { clock, memory, namesOf, rows } = openLists();
    // Flushes are the queue's, and nobody runs its jobs.
    const queue = memoryQueue({ clock, random: () => 0.5 });
    const lockstep = createLockstep({ cache: memory, clock, queue, random: () => 0.5, prefix: 'queued' });
    const items = lockstep.collection({
      name: 'items',
      store: rows,
      tags: ['category'],
      strategy: 'write-behind',
      burst: { maxClockSkewMs: 0 },
    });
    const view = (name: string, flushFirst: boolean) =>
      lockstep.view<undefined, string[]>({
        name,
        flushFirst,
        load: () => namesOf('books'),
        dependsOn: () => items.where({ category: 'books' }),
      });
    const [flushing, usual] = [view('flushing', true), view('usual', false)];
    await elapse(clock, items.put('1', { category: 'toys', name: 'a' }));
    await elapse(clock, items.flush());
    for (const each of [flushing, usual]) expect(await each.get(undefined)).toEqual([]);
    await lockstep.drain();
    const written = await elapse(clock, items.put('1', { category: 'books', name: 'b' }));
    expect(written).toMatchObject({ store: 'buffered', cache: 'updated' });
    expect(await usual.get(undefined)).toEqual([]);
    expect(await elapse(clock, flushing.get(undefined))).toEqual(['b']);
    expect(await usual.get(undefined)).toEqual(['b']);
  });

  test('is read page by page, and all pages follow each change', async () => {
    const { items, lockstep, loads, namesOf } = openLists();
    const pages = lockstep.view<string, { names: string[]; next: string | undefined }>({
      name: 'pages',
      load: async (category, { cursor = '' }) => {
        loads.push(String(cursor));
        const names = (await namesOf(category)).filter((name) => name > String(cursor)).slice(0, 2);
        return { names, next: names.length < 2 ? undefined : names.at(-1) };
      },
      dependsOn: (category) => items.where({ category }),
    });
    for (const name of ['a', 'b', 'c']) await items.put(name, { category: 'books', name });
    const all = async () => {
      const read: string[][] = [];
      for (let cursor: string | undefined, more = true; more; more = cursor !== undefined) {
        const { names, next } = await pages.page('books', cursor);
        read.push(names);
        cursor = next;
        await lockstep.drain();
      }
      return read;
    };
    expect(await all()).toEqual([['a', 'b'], ['c']]);
    expect(await all()).toEqual([['a', 'b'], ['c']]);
    expect(loads).toEqual(['', 'b']);
    expect(await pages.get('books')).toEqual(await pages.page('books'));
    // All pages, and those of no other params.
    await pages.page('toys', 'b');
    await lockstep.drain();
    loads.length = 0;
    expect(await pages.invalidate('books')).toBe('invalidated');
    await pages.page('toys', 'b');
    expect(await all()).toEqual([['a', 'b'], ['c']]);
    expect(await all()).toEqual([['a', 'b'], ['c']]);
    expect(loads).toEqual(['', 'b']);
    await items.delete('a');
    expect(await all()).toEqual([['b', 'c'], []]);
  });

  test('is asked for ten thousand at once, of which no more wait than may', async () => {
    const { items, lockstep } = openLists();
    let under = 0;
    let most = 0;
    const view = lockstep.view<number, number>({
      name: 'many',
      load: async (n) => {
        most = Math.max(most, ++under);
        await new Promise(setImmediate);
        under--;
        return n;
      },
      dependsOn: (n) => items.id(`${n % 100}`),
      maxQueuedLoads: 300,
    });
    const all = Array.from({ length: 10_000 }, (_, n) => n);
    expect(await view.getMany(all)).toEqual(all);
    expect(most).toBe(64);
    await lockstep.drain();
    expect(await view.getMany(all)).toEqual(all);
    expect(most).toBe(64);
    await expect(view.getMany([1], { ttl: 1 } as never)).rejects.toThrow(/unknown option/);
  });

  test('of a strict collection says at definition that it promises less', async () => {
    const { lockstep, rows } = openLists();
    const errors: string[] = [];
    lockstep.events.on('error', ({ error }) => void errors.push(String(error)));
    const strict = lockstep.collection({ name: 'strict', store: rows, tags: [], consistency: 'strict' });
    lockstep.view({ name: 'of-strict', load: () => 1, dependsOn: () => strict.any() });
    expect(errors).toEqual([expect.stringContaining('depends on strict.any() of a strict collection')]);
  });
});
