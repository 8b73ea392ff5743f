import { describe, expect, test } from 'vitest';
import type { StoreCommand, StoreOutcome } from '../../src/contracts/store.js';
import { ClosedError, InvalidOptionError, StoreRefusedError, StoreTimeoutError } from '../../src/errors.js';
import { manualClock } from '../../src/faults/index.js';
import { type MemoryStore, memoryDatabase, memoryStore } from '../../src/memory/index.js';

interface Row {
  readonly n: number;
}

const call = { timeoutMs: 1_000 };

function put(key: string, n: number, above = 0): StoreCommand<Row> {
  return { kind: 'put', key, value: { n }, above };
}

async function write(store: MemoryStore<Row>, command: StoreCommand<Row>): Promise<StoreOutcome<Row>> {
  const [outcome] = await store.write([command], call);
  if (outcome === undefined) throw new Error('no outcome');
  return outcome;
}

async function version(store: MemoryStore<Row>, command: StoreCommand<Row>): Promise<number> {
  const outcome = await write(store, command);
  if (outcome.kind !== 'written') throw new Error(`not written: ${outcome.kind}`);
  return outcome.version;
}

describe('versions', () => {
  test('are the clock in microseconds, even, and go on growing when the clock stands or steps back', async () => {
    const clock = manualClock(1_750_000_000_000);
    const store = memoryStore<Row>({ name: 'rows', clock });
    const first = await version(store, put('a', 1));
    expect(first).toBe(1_750_000_000_000_000);
    expect(await version(store, put('a', 2))).toBe(first + 2);
    clock.advance(-5_000);
    expect(await version(store, put('a', 3))).toBe(first + 4);
    expect(await version(store, { kind: 'delete', key: 'a', above: 0 })).toBe(first + 6);
    expect(await version(store, put('a', 4))).toBe(first + 8);
  });

  test('do not go down when a tombstone is forgotten (G3)', async () => {
    const clock = manualClock();
    const store = memoryStore<Row>({ name: 'rows', clock, maxTombstones: 1 });
    await version(store, put('a', 1));
    const gone = await version(store, { kind: 'delete', key: 'a', above: 9_000_000_000_000_000 });
    await version(store, put('b', 1));
    await version(store, { kind: 'delete', key: 'b', above: 0 });
    expect(await write(store, { kind: 'flush', key: 'a', value: { n: 2 }, version: gone - 1 })).toEqual({
      kind: 'superseded',
      version: gone,
    });
    expect(await version(store, put('a', 3))).toBeGreaterThan(gone);
    expect(await version(store, put('never seen', 1))).toBeGreaterThan(gone);
  });
});

describe('bounds', () => {
  test('a full table refuses new rows, alone, and still takes updates and deletes', async () => {
    const store = memoryStore<Row>({ name: 'rows', maxRows: 2 });
    const outcomes = await store.write([put('a', 1), put('b', 1), put('c', 1)], call);
    expect(outcomes.map(({ kind }) => kind)).toEqual(['written', 'written', 'failed']);
    expect(outcomes[2]).toMatchObject({ error: { code: 'LOCKSTEP_STORE_REFUSED' } });
    expect((await write(store, put('a', 2))).kind).toBe('written');
    expect((await write(store, { kind: 'delete', key: 'b', above: 0 })).kind).toBe('written');
    expect((await write(store, put('c', 1))).kind).toBe('written');
    expect(store.keys()).toEqual(['a', 'c']);
  });

  test('a transaction that would overfill a table is rolled back whole', async () => {
    const store = memoryStore<Row>({ name: 'rows', maxRows: 1 });
    const full = store.transactions.transaction(
      (tx) => store.write([put('a', 1), put('b', 1)], { ...call, tx }),
      call,
    );
    await expect(full).rejects.toBeInstanceOf(StoreRefusedError);
    expect(store.keys()).toEqual([]);
  });

  test('a feed that nobody reads holds one change per row, and refuses writes at its limit', async () => {
    const store = memoryStore<Row>({ name: 'rows', maxPendingChanges: 2 });
    for (let n = 0; n < 10; n += 1) await version(store, put('a', n));
    expect((await store.feed.status(['rows'])).pending).toBe(1);
    await version(store, put('b', 1));
    expect(await write(store, put('c', 1))).toMatchObject({
      kind: 'failed',
      error: { code: 'LOCKSTEP_STORE_REFUSED' },
    });
    store.feed.acknowledge([{ source: 'rows', key: 'a', version: Number.MAX_SAFE_INTEGER }]);
    expect((await write(store, put('c', 1))).kind).toBe('written');
  });
});

describe('values', () => {
  test('are copied in and out', async () => {
    const store = memoryStore<{ tags: string[] }>({ name: 'rows' });
    const value = { tags: ['a'] };
    await store.write([{ kind: 'put', key: 'a', value, above: 0 }], call);
    value.tags.push('b');
    const [row] = await store.read(['a'], { ...call, primary: true });
    row?.value.tags.push('c');
    const [again] = await store.read(['a'], { ...call, primary: true });
    expect(again?.value).toEqual({ tags: ['a'] });
  });

  test('that can’t be stored are refused, each with the row’s key', async () => {
    const store = memoryStore<unknown>({
      name: 'rows',
      validate(value) {
        if (value === 'bad') throw new Error('bad is bad');
      },
    });
    for (const value of [undefined, null, () => {}, 'bad']) {
      const [outcome] = await store.write([{ kind: 'put', key: 'a', value, above: 0 }], call);
      expect(outcome).toMatchObject({ kind: 'failed', error: { code: 'LOCKSTEP_STORE_REFUSED', key: 'a' } });
    }
    expect(store.keys()).toEqual([]);
  });

  test('an increment of what is no number is refused', async () => {
    const store = memoryStore<Row>({ name: 'rows' });
    await version(store, put('a', Number.MAX_VALUE));
    for (const [field, by] of [
      ['missing', 1],
      ['constructor', 1],
      ['n', Number.MAX_VALUE],
    ] as const) {
      expect((await write(store, { kind: 'increment', key: 'a', field, by, above: 0 })).kind).toBe('failed');
    }
  });
});

describe('the change feed', () => {
  test('leaves a writer’s own change to its acknowledgement for the grace, and a foreign one not at all (G6)', async () => {
    const clock = manualClock();
    const store = memoryStore<Row>({ name: 'rows', clock, feedGraceMs: 200 });
    const taken: string[] = [];
    const abort = new AbortController();
    const done = store.feed.consume(async (changes) => void taken.push(...changes.map(({ key }) => key)), {
      sources: ['rows'],
      signal: abort.signal,
    });
    const acknowledged = await version(store, put('acknowledged', 1));
    await version(store, put('own', 1));
    await store.foreignWrite('foreign', { n: 1 });
    await new Promise(setImmediate);
    expect(taken).toEqual(['foreign']);
    store.feed.acknowledge([{ source: 'rows', key: 'acknowledged', version: acknowledged }]);
    clock.advance(199);
    await new Promise(setImmediate);
    expect(taken).toEqual(['foreign']);
    clock.advance(1);
    await new Promise(setImmediate);
    expect(taken).toEqual(['foreign', 'own']);
    abort.abort();
    await done;
    expect(clock.pending).toBe(0);
  });

  test('a foreign write of a row whose own change is in its grace is handed over at once (G6)', async () => {
    const clock = manualClock();
    const store = memoryStore<Row>({ name: 'rows', clock });
    const own = await version(store, put('a', 1));
    await store.foreignWrite('a', { n: 2 });
    expect((await store.feed.status(['rows'])).pending).toBe(1);
    const taken: number[] = [];
    const abort = new AbortController();
    const done = store.feed.consume(
      async (changes) => void taken.push(...changes.map((change) => change.version)),
      {
        sources: ['rows'],
        signal: abort.signal,
      },
    );
    await new Promise(setImmediate);
    expect(taken).toEqual([own + 2]);
    abort.abort();
    await done;
  });

  test('tells how old the oldest change is, however often its row changed since', async () => {
    const clock = manualClock();
    const store = memoryStore<Row>({ name: 'rows', clock });
    await version(store, put('a', 1));
    clock.advance(300);
    await version(store, put('a', 2));
    clock.advance(200);
    expect(await store.feed.status(['rows'])).toEqual({ pending: 1, oldestMs: 500 });
    expect(await store.feed.status(['others'])).toEqual({ pending: 0, oldestMs: 0 });
  });

  test('hands a rejected batch over again with growing pauses', async () => {
    const clock = manualClock();
    const store = memoryStore<Row>({ name: 'rows', clock });
    await store.foreignWrite('a', { n: 1 });
    let tries = 0;
    const abort = new AbortController();
    const done = store.feed.consume(
      async () => {
        tries += 1;
        throw new Error('not yet');
      },
      { sources: ['rows'], signal: abort.signal },
    );
    for (const [pauseMs, expected] of [
      [10, 1],
      [20, 2],
      [40, 3],
    ] as const) {
      await new Promise(setImmediate);
      expect(tries).toBe(expected);
      clock.advance(pauseMs - 1);
      await new Promise(setImmediate);
      expect(tries).toBe(expected);
      clock.advance(1);
    }
    abort.abort();
    await done;
  });

  test('replays deletes, too, from the tombstones', async () => {
    const clock = manualClock();
    const store = memoryStore<Row>({ name: 'rows', clock, feedGraceMs: 0 });
    await version(store, put('old', 1));
    clock.advance(10_000);
    const since = clock.now();
    const collection = { name: 'a', source: 'rows', keyPrefix: 'a:', holeTtlMs: 1, holeOnEmpty: false };
    store.feed.acknowledge([{ source: 'rows', key: 'old', version: Number.MAX_SAFE_INTEGER }]);
    const [record] = await store.feed.registry.register('c', [collection]);
    await version(store, put('gone', 1));
    const gone = await version(store, { kind: 'delete', key: 'gone', above: 0 });
    const replayed: unknown[] = [];
    const position = new Map([['rows', [record?.position ?? '']]]);
    await store.feed.replay(position, async (changes) => void replayed.push(...changes), {
      sources: ['rows'],
      signal: new AbortController().signal,
    });
    expect(replayed).toEqual([
      { source: 'rows', key: 'gone', version: gone, op: 'delete', changedAtMs: since },
    ]);
  });
});

describe('calls and transactions', () => {
  test('a write that waits for a row gives up by the injected clock, and is not committed later', async () => {
    const clock = manualClock();
    const store = memoryStore<Row>({ name: 'rows', clock });
    const [locked, over] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const holder = store.transactions.transaction(async (tx) => {
      await store.write([put('a', 1)], { ...call, tx });
      locked.resolve();
      await over.promise;
    }, call);
    await locked.promise;
    const waiting = store.write([put('a', 2), put('b', 2)], { timeoutMs: 100 });
    clock.advance(100);
    const outcomes = await waiting;
    expect(outcomes[0]).toMatchObject({ kind: 'failed', error: expect.any(StoreTimeoutError) });
    expect(outcomes[1]?.kind).toBe('written');
    over.resolve();
    await holder;
    expect((await store.read(['a'], { ...call, primary: true }))[0]?.value).toEqual({ n: 1 });
    expect((await write(store, put('a', 3))).kind).toBe('written');
    expect(clock.pending).toBe(0);
  });

  test('an aborted wait rejects as not committed', async () => {
    const store = memoryStore<Row>({ name: 'rows' });
    const [locked, over] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const holder = store.transactions.transaction(async (tx) => {
      await store.write([put('a', 1)], { ...call, tx });
      locked.resolve();
      await over.promise;
    }, call);
    await locked.promise;
    const abort = new AbortController();
    const waiting = store.write([put('a', 2)], { ...call, signal: abort.signal });
    abort.abort();
    expect((await waiting)[0]).toMatchObject({ kind: 'failed', error: { outcome: 'not-committed' } });
    over.resolve();
    await holder;
  });

  test('the loser of a deadlock runs again, also when its body swallows the error', async () => {
    const store = memoryStore<Row>({ name: 'rows' });
    const [locked, wants] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const holder = store.transactions.transaction(async (tx) => {
      await store.write([put('a', 1)], { ...call, tx });
      locked.resolve();
      await wants.promise;
      await store.write([put('b', 1)], { ...call, tx });
    }, call);
    await locked.promise;
    let tries = 0;
    const loser = store.transactions.transaction(async (tx) => {
      tries += 1;
      await store.write([put('b', 2)], { ...call, tx });
      wants.resolve();
      await new Promise(setImmediate);
      await store.write([put('a', 2)], { ...call, tx }).catch(() => {});
    }, call);
    await Promise.all([holder, loser]);
    expect(tries).toBe(2);
    expect((await store.read(['a', 'b'], { ...call, primary: true })).map((row) => row?.value.n)).toEqual([
      2, 2,
    ]);
  });

  test('a transaction that is over, or another database’s, is refused', async () => {
    const [store, other] = [memoryStore<Row>({ name: 'rows' }), memoryStore<Row>({ name: 'rows' })];
    const tx = await store.transactions.transaction(async (open) => {
      expect((await other.write([put('a', 1)], { ...call, tx: open }))[0]?.kind).toBe('failed');
      return open;
    }, call);
    expect((await store.write([put('a', 1)], { ...call, tx }))[0]?.kind).toBe('failed');
    await expect(store.read(['a'], { ...call, primary: true, tx })).rejects.toMatchObject({
      code: 'LOCKSTEP_TRANSACTION_OVER',
    });
    expect(store.keys()).toEqual([]);
  });

  test('one transaction spans the tables of a database', async () => {
    const database = memoryDatabase();
    const [a, b] = [memoryStore<Row>({ name: 'a', database }), memoryStore<Row>({ name: 'b', database })];
    expect(a.transactions).toBe(b.transactions);
    expect(a.feed).toBe(b.feed);
    await expect(
      database.transactions.transaction(async (tx) => {
        await a.write([put('k', 1)], { ...call, tx });
        await b.write([put('k', 1)], { ...call, tx });
        throw new Error('no');
      }, call),
    ).rejects.toThrow('no');
    expect([a.keys(), b.keys()]).toEqual([[], []]);
  });
});

describe('options', () => {
  test.each([
    [{ name: '' }, 'memoryStore.name'],
    [{ name: 'rows', maxRow: 1 }, 'memoryStore.maxRow'],
    [{ name: 'rows', maxRows: 0 }, 'memoryStore.maxRows'],
    [{ name: 'rows', feedGraceMs: -1 }, 'memoryStore.feedGraceMs'],
    [{ name: 'rows', database: memoryDatabase(), clock: manualClock() }, 'memoryStore.clock'],
    [{ name: 'rows', database: {} }, 'memoryStore.database'],
  ])('%o is refused, naming %s', (options, option) => {
    const make = (): unknown => memoryStore(options as Parameters<typeof memoryStore>[0]);
    expect(make).toThrow(InvalidOptionError);
    expect(make).toThrow(option);
  });

  test('after close calls reject, and another binding of the database goes on', async () => {
    const database = memoryDatabase();
    const [one, other] = [
      memoryStore<Row>({ name: 'a', database }),
      memoryStore<Row>({ name: 'a', database }),
    ];
    await one.close();
    await expect(one.write([put('k', 1)], call)).rejects.toBeInstanceOf(ClosedError);
    expect((await write(other, put('k', 1))).kind).toBe('written');
  });
});
