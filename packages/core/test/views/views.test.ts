import { describe, expect, test } from 'vitest';
import type { Collection } from '../../src/contracts/api.js';
import type { CacheAdapter } from '../../src/contracts/cache.js';
import type { Dependency, View, ViewOptions } from '../../src/contracts/views.js';
import { InvalidIdError, InvalidOptionError, UnsupportedError } from '../../src/errors.js';
import { type CacheCalls, faultPlan, faultyCache, manualClock, refuse } from '../../src/faults/index.js';
import { memoryCache, memoryDatabase, memoryStore } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { callbackStore } from '../../src/stores/callback-store.js';
import { elapse, turns } from '../support/shop.js';

interface Product {
  readonly category: string;
  readonly name: string;
  readonly tenant?: string;
}

type Items = Collection<Product>;
type Any = Readonly<Record<'ids' | 'name', readonly string[]>>;
type Listing = ViewOptions<{ category: string }, string[]>;

/** A shop with a list of each category, and a count of its loads. */
function openLists(more: Partial<Listing> = {}) {
  const clock = manualClock();
  const memory = memoryCache({ clock });
  const plan = faultPlan<CacheCalls>({ clock });
  const server = { generation: 'first' };
  const cache: CacheAdapter = {
    ...faultyCache(memory, plan),
    probe: async () => new Map([['', { generation: server.generation, nowMs: clock.now() }]]),
  };
  const database = memoryDatabase({ name: 'lists', clock, feedGraceMs: 0 });
  const rows = memoryStore<Product>({ name: 'items', database });
  const loads: string[] = [];
  const gates: Promise<void>[] = [];
  async function namesOf(category: string): Promise<string[]> {
    const found = await rows.read(rows.keys(), { timeoutMs: 1_000, primary: true });
    return found.flatMap((row) => (row?.value.category === category ? [row.value.name] : [])).sort();
  }
  function join() {
    const lockstep = createLockstep({ cache, clock, random: () => 0.5 });
    const items = lockstep.collection({
      name: 'items',
      store: rows,
      tags: ['category', ['category', 'tenant']],
    });
    const lists = lockstep.view<{ category: string }, string[]>({
      name: 'list',
      load: async ({ category }) => {
        loads.push(category);
        const names = await namesOf(category);
        await gates.shift();
        return names;
      },
      dependsOn: ({ category }) => items.where({ category }),
      ...more,
    });
    return { lockstep, items, lists };
  }
  return { ...join(), clock, gates, join, loads, memory, namesOf, plan, rows, server };
}

const books = { category: 'books' };

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

  test('of a strict collection says at definition that it promises less', async () => {
    const { lockstep, rows } = openLists();
    const errors: string[] = [];
    lockstep.events.on('error', ({ error }) => void errors.push(String(error)));
    const strict = lockstep.collection({ name: 'strict', store: rows, tags: [], consistency: 'strict' });
    lockstep.view({ name: 'of-strict', load: () => 1, dependsOn: () => strict.any() });
    expect(errors).toEqual([expect.stringContaining('depends on collection "strict", which is strict')]);
  });
});

describe('what a view depends on', () => {
  test.for([
    [
      'a property that is no tag',
      (items: Items) => items.where({ name: 'a' }),
      /\(name\) is not among the tags/,
    ],
    ['a part of a tag', (items: Items) => items.where({ tenant: 'a' }), /\(tenant\) is not among the tags/],
    [
      'nothing that a collection names',
      () => 'items' as never,
      /must return what any\(\), id\(\) or where\(\)/,
    ],
  ] as const)('%s is refused at definition', ([, dependsOn, message]) => {
    const { items, lockstep } = openLists();
    const define = (): unknown =>
      lockstep.view<{ name: string }, number>({
        name: 'v',
        load: () => 1,
        dependsOn: () => dependsOn(items),
      });
    expect(define).toThrow(InvalidOptionError);
    expect(define).toThrow(message);
  });

  test('must not be a collection without tags, nor a store that tells no changes', () => {
    const { lockstep, rows } = openLists();
    const plain = lockstep.collection({ name: 'plain', store: rows });
    expect(() => plain.any()).toThrow(/collection\("plain"\).tags: must be given/);
    const store = callbackStore<Product>({ read: async () => undefined, write: async () => undefined });
    expect(() => lockstep.collection({ name: 'callback', store, tags: [] })).toThrow(UnsupportedError);
  });

  test('is asked for with params that nobody gave, whatever it makes of them', () => {
    const { items, lockstep } = openLists();
    const define = (dependsOn: (params: Any) => Dependency | Dependency[]) => () =>
      lockstep.view({ name: `v${Math.random()}`, load: () => 1, dependsOn });
    expect(define(({ ids }) => ids.map((id) => items.id(id)))).not.toThrow();
    expect(define((params) => items.where(params as never))).not.toThrow();
    expect(define(({ ids }) => (ids.length > 3 ? items.any() : items.id(ids[0] as string)))).not.toThrow();
    expect(define(({ name }) => items.where({ name: `${name}!` }))).toThrow(/is not among the tags/);
  });

  test('goes in no circles', () => {
    const { items, lockstep } = openLists();
    let inner: View<string, number> | undefined;
    const outer = lockstep.view<string, number>({
      name: 'outer',
      load: () => 1,
      dependsOn: () => inner?.of('a') ?? items.any(),
    });
    inner = lockstep.view<string, number>({ name: 'inner', load: () => 1, dependsOn: () => outer.of('a') });
    expect(() => outer.of('a')).toThrow(/depends on itself/);
  });

  test('names and params are checked', async () => {
    const { items, lockstep } = openLists();
    const options = { name: 'list', load: () => 1, dependsOn: () => items.any() };
    expect(() => lockstep.view(options)).toThrow(/there already is a view "list"/);
    expect(() => lockstep.view({ ...options, name: 'items' })).toThrow(
      /there already is a collection "items"/,
    );
    const view = lockstep.view<unknown, number>({ ...options, name: 'other' });
    expect(() => lockstep.collection({ name: 'other', store: items as never })).toThrow(
      /there already is a view/,
    );
    await expect(view.get(new Map())).rejects.toThrow(InvalidIdError);
    await expect(view.get({ at: Number.NaN })).rejects.toThrow(/must not hold NaN/);
    await expect(view.get('a', { ttl: 1 } as never)).rejects.toThrow(InvalidOptionError);
  });
});
