import { describe, expect, test } from 'vitest';
import { StoreRefusedError } from '../../src/errors.js';
import { faultPlan, faultyStore, manualClock, refuse, type StoreCalls } from '../../src/faults/index.js';
import { memoryCache } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { type CallbackStoreOptions, callbackStore } from '../../src/stores/callback-store.js';
import { elapse } from '../support/shop.js';

interface Note {
  readonly text: string;
  readonly revision: number;
}

function openNotes(more: Partial<CallbackStoreOptions<Note>> = {}) {
  const clock = manualClock();
  const cache = memoryCache({ clock });
  const notes = new Map<string, Note>();
  let reads = 0;
  const store = callbackStore<Note>({
    name: 'notes',
    read: async (id) => {
      reads += 1;
      return notes.get(id);
    },
    write: async (id, note) => void notes.set(id, note),
    delete: async (id) => void notes.delete(id),
    ...more,
  });
  const plan = faultPlan<StoreCalls>({ clock });
  const join = () => {
    const lockstep = createLockstep({ cache, clock });
    return { lockstep, collection: lockstep.collection({ name: 'notes', store: faultyStore(store, plan) }) };
  };
  return { clock, cache, notes, plan, join, ...join(), reads: () => reads };
}

const note = (revision: number): Note => ({ text: `note ${revision}`, revision });

describe('callbackStore without versions', () => {
  test('reads through, writes through, deletes', async () => {
    const { collection, reads, notes } = openNotes();
    expect(await collection.put('a', note(1))).toMatchObject({
      value: note(1),
      version: 0,
      cache: 'updated',
    });
    expect(await collection.getVersioned('a')).toMatchObject({ value: note(1), from: 'cache' });
    await collection.delete('a');
    expect(notes.size).toBe(0);
    expect(await collection.get('a')).toBeUndefined();
    expect(reads()).toBeLessThanOrEqual(1);
  });

  test('writes that overlap leave a miss, whoever ends last', async () => {
    const { collection, join, plan } = openNotes();
    const other = join();
    await collection.put('a', note(0));
    const held = plan.pauseNext('write');
    const slow = collection.put('a', note(1));
    await held.reached;
    expect(await other.collection.put('a', note(2))).toMatchObject({ cache: 'invalidated' });
    held.release();
    expect(await slow).toMatchObject({ cache: 'invalidated' });
    expect(await collection.getVersioned('a')).toMatchObject({ value: note(1), from: 'store' });
  });

  test('a write of unknown outcome keeps the key uncached until its deadline', async () => {
    const { clock, collection, lockstep, plan } = openNotes();
    await collection.put('a', note(0));
    plan.next('write', refuse(new Error('socket hang up')));
    await expect(collection.put('a', note(1))).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_UNAVAILABLE' });
    await collection.get('a');
    await lockstep.drain();
    expect(await collection.getVersioned('a')).toMatchObject({ from: 'store' });
    clock.advance(16_000);
    await collection.get('a');
    await lockstep.drain();
    expect(await collection.getVersioned('a')).toMatchObject({ from: 'cache' });
  });

  test.each([
    ['StoreRefusedError', new StoreRefusedError('read-only')],
    ['a missing delete', undefined],
  ])('after %s nothing was written, and the next reader fills', async (_what, error) => {
    const { delete: _none, ...withoutDelete } = { delete: undefined };
    const shop = openNotes(error === undefined ? ({ ...withoutDelete, delete: undefined } as never) : {});
    const { collection, lockstep, plan } = shop;
    await collection.put('a', note(0));
    if (error !== undefined) plan.next('write', refuse(error));
    await expect(error ? collection.put('a', note(1)) : collection.delete('a')).rejects.toMatchObject({
      code: error ? 'LOCKSTEP_STORE_REFUSED' : 'LOCKSTEP_UNSUPPORTED',
    });
    await lockstep.drain();
    await collection.get('a');
    await lockstep.drain();
    expect(await collection.getVersioned('a')).toMatchObject({ value: note(0), from: 'cache' });
  });

  test('fresh replaces what is cached', async () => {
    const { collection, lockstep, notes } = openNotes();
    await collection.put('a', note(1));
    notes.set('a', note(2));
    expect(await collection.get('a', { fresh: true })).toEqual(note(2));
    await lockstep.drain();
    expect(await collection.getVersioned('a')).toMatchObject({ value: note(2), from: 'cache' });
  });

  test('what it can’t do is an UnsupportedError that names it', async () => {
    const { collection } = openNotes();
    const unsupported = { code: 'LOCKSTEP_UNSUPPORTED' };
    await expect(collection.update('a', () => note(1))).rejects.toMatchObject(unsupported);
    await expect(collection.increment('a', 'revision', 1)).rejects.toMatchObject(unsupported);
    await expect(collection.put('a', note(1), { ifVersion: 1 })).rejects.toMatchObject(unsupported);
    await expect(collection.write('a', async () => undefined)).rejects.toMatchObject(unsupported);
  });
});

test('outside an engine, too, a function that hangs is cut in the time of its call, and told by its signal', async () => {
  const told: AbortSignal[] = [];
  const hang = (_: unknown, { signal }: { readonly signal: AbortSignal }): Promise<never> => {
    told.push(signal);
    return new Promise(() => undefined);
  };
  const store = callbackStore<Note>({ read: hang, write: (id, _value, context) => hang(id, context) });
  const call = { timeoutMs: 5 };
  const late = { code: 'LOCKSTEP_STORE_TIMEOUT' };
  await expect(store.read(['a'], { ...call, primary: true })).rejects.toMatchObject(late);
  const put = { kind: 'put', key: 'a', value: { text: 'x' } } as never;
  await expect(store.write([put], call)).rejects.toMatchObject(late);
  const ending = new AbortController();
  const aborted = store.write([put], { timeoutMs: 60_000, signal: ending.signal });
  ending.abort(new Error('enough'));
  await expect(aborted).rejects.toThrow('enough');
  expect(told.map((signal) => signal.aborted)).toEqual([true, true, true]);
});

describe('callbackStore with versions', () => {
  const version = (value: Note): number => value.revision;

  test('an older write never replaces a newer one (G3)', async () => {
    const { collection, join, plan } = openNotes({ version });
    const other = join();
    await collection.put('a', note(1));
    const held = plan.pauseNext('write', { at: 'after' });
    const slow = collection.put('a', note(2));
    await held.reached;
    expect(await other.collection.put('a', note(3))).toMatchObject({ cache: 'updated', version: 3 });
    held.release();
    await slow;
    expect(await collection.getVersioned('a')).toMatchObject({ value: note(3), version: 3, from: 'cache' });
  });

  test('a version that is none is a StoreContractError', async () => {
    const { collection, notes } = openNotes({ version });
    notes.set('a', { text: 'x', revision: 0.5 });
    await expect(collection.get('a')).rejects.toMatchObject({
      code: 'LOCKSTEP_STORE_CONTRACT',
      message: expect.stringContaining('version() of "a" gave 0.5'),
    });
  });

  test('a deletion without a version makes what is cached unreadable', async () => {
    const { collection } = openNotes({ version });
    await collection.put('a', note(1));
    expect(await collection.delete('a')).toMatchObject({ value: null, cache: 'invalidated' });
    expect(await collection.get('a')).toBeUndefined();
  });
});

test('readMany reads many at once, and must answer for each', async () => {
  const asked: (readonly string[])[] = [];
  const { collection, notes } = openNotes({
    readMany: async (ids) => {
      asked.push(ids);
      return ids.includes('short') ? [] : ids.map((id) => notes.get(id));
    },
  });
  notes.set('b', note(1));
  expect(await collection.getMany(['a', 'b'])).toEqual([undefined, note(1)]);
  expect(asked).toEqual([['a', 'b']]);
  await expect(collection.get('short')).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_CONTRACT' });
});

test('what write returns is the record as stored', async () => {
  const { collection } = openNotes({ write: async (_id, value) => ({ ...value, text: value.text.trim() }) });
  expect(await collection.put('a', { text: ' x ', revision: 1 })).toMatchObject({ value: { text: 'x' } });
});

describe('through', () => {
  function openThrough() {
    const clock = manualClock();
    const lockstep = createLockstep({ cache: memoryCache({ clock }), clock });
    const files = new Map<string, string>();
    let reads = 0;
    const record = (id: string) =>
      lockstep.through<string>({
        namespace: 'files',
        id,
        reader: async (name) => {
          reads += 1;
          return files.get(name);
        },
        writer: async (name, text) => void files.set(name, text),
        ttlMs: 1_000,
      });
    return { clock, lockstep, files, record, reads: () => reads };
  }

  test('reads through the cache, writes the record first, invalidates', async () => {
    const { files, lockstep, reads, record } = openThrough();
    expect(await record('a').read()).toBeUndefined();
    expect(await record('a').write('one')).toMatchObject({ value: 'one', cache: 'updated' });
    expect(await record('a').read()).toBe('one');
    files.set('a', 'two');
    expect(await record('a').read()).toBe('one');
    expect(await record('a').invalidate()).toBe('invalidated');
    expect(await record('a').read()).toBe('two');
    await lockstep.drain();
    expect(await record('a').read()).toBe('two');
    expect(reads()).toBe(2);
  });

  test('the writer’s own error propagates, and what is cached makes way for a reader', async () => {
    const { lockstep, record } = openThrough();
    await record('a').write('one');
    const own = new Error('disk full');
    const failing = lockstep.through<string>({
      namespace: 'files',
      id: 'a',
      writer: async () => {
        throw own;
      },
    });
    await expect(failing.write('two')).rejects.toBe(own);
    expect(await record('a').read()).toBe('one');
  });

  test('a reader that hangs is cut, and told by its signal', async () => {
    const { clock, lockstep } = openThrough();
    let told: AbortSignal | undefined;
    const hanging = lockstep.through<string>({
      namespace: 'files',
      id: 'a',
      reader: (_id, { signal }) => {
        told = signal;
        return new Promise(() => undefined);
      },
    });
    await expect(elapse(clock, hanging.read(), 1_000)).rejects.toMatchObject({
      code: 'LOCKSTEP_STORE_TIMEOUT',
    });
    expect(told?.aborted).toBe(true);
  });

  test('calls of one record at once run functions of their own, writes in order', async () => {
    const { lockstep, record } = openThrough();
    const order: string[] = [];
    const own = new Error('disk full');
    const writing = (name: string, outcome?: Error) =>
      lockstep
        .through<string>({
          namespace: 'files',
          id: 'a',
          reader: () => Promise.reject(own),
          writer: async () => {
            order.push(name);
            if (outcome !== undefined) throw outcome;
          },
        })
        .write('same');
    const settled = await Promise.allSettled([writing('one'), writing('two', own), writing('three')]);
    expect(order).toEqual(['one', 'two', 'three']);
    expect(settled).toMatchObject([
      { status: 'fulfilled' },
      { status: 'rejected', reason: own },
      { status: 'fulfilled' },
    ]);
    await record('a').invalidate();
    const reads = [record('a').read(), record('a').read(), record('b').read()];
    expect(await Promise.all(reads)).toEqual([undefined, undefined, undefined]);
  });

  test('what is missing or doubtful is an InvalidOptionError that names it', async () => {
    const { lockstep, record } = openThrough();
    const bare = lockstep.through({ namespace: 'files', id: 'a' });
    await expect(bare.read()).rejects.toMatchObject({ option: 'through.reader' });
    await expect(bare.write('x')).rejects.toMatchObject({ option: 'through.writer' });
    expect(() => lockstep.through({ namespace: '', id: 'a' })).toThrow('through.namespace');
    expect(() => lockstep.through({ namespace: 'n', id: 'a', ttl: 5 } as never)).toThrow(
      'through.ttl: unknown option',
    );
    record('a');
    const serialize = { name: 'rot13', encoding: 'utf8', serialize: String, deserialize: String } as const;
    expect(() => lockstep.through({ namespace: 'files', id: 'a', serialize })).toThrow(
      'already uses serializer "json"',
    );
    const empty = lockstep.through({ namespace: 'files', id: '', reader: async () => 1 });
    await expect(empty.read()).rejects.toMatchObject({ code: 'LOCKSTEP_INVALID_ID' });
  });
});

const nothing = async (): Promise<undefined> => undefined;

test.each([
  [{}, 'callbackStore.read'],
  [{ read: nothing, write: 5 }, 'callbackStore.write'],
  [{ read: nothing, write: nothing, delete: true }, 'callbackStore.delete'],
  [{ read: nothing, write: nothing, remove: nothing }, 'callbackStore.remove'],
])('callbackStore(%o) names %s', (options, option) => {
  expect(() => callbackStore(options as never)).toThrow(option);
});
