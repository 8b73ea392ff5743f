import { StoreRefusedError, type StoreTransaction } from '@lockstep/core';
import type { ClientSession, Document } from 'mongodb';
import { beforeAll, describe, expect, test } from 'vitest';
import type { MongoCollection } from '../src/rows/collection.js';
import type { MongoStore } from '../src/store.js';
import { comeAndGo, FlushBarrier } from './support/barrier.js';
import { CALL, PRIMARY, testServer } from './support/server.js';

interface Thing extends Document {
  readonly _id: string;
  readonly n: number;
}

const server = testServer();
let store: MongoStore;
let things: MongoCollection<Thing, string>;
let raw: ReturnType<Awaited<ReturnType<typeof server.client>>['db']>;

beforeAll(async () => {
  const client = await server.client();
  store = await server.store({ client });
  things = store.collection<Thing>('things');
  await store.attach([things]);
  raw = client.db(server.service.databaseName);
});

const rows = () => raw.collection<Thing>('things');
const sessionOf = (tx: StoreTransaction): { session: ClientSession } => ({
  session: tx.client as ClientSession,
});

async function put(key: string, n: number, tx?: StoreTransaction): Promise<number> {
  const command = { kind: 'put', key, value: { _id: key, n }, above: 0 } as const;
  const [outcome] = await things.write([command], { ...CALL, tx });
  if (outcome?.kind !== 'written') throw new Error(`not written: ${outcome?.kind}`);
  return outcome.version;
}

const read = async (key: string, tx?: StoreTransaction) => (await things.read([key], { ...PRIMARY, tx }))[0];

describe('a row that the user’s own statement changed', () => {
  test('gets its version when it is read in the transaction, once, and is among the changes', async () => {
    const before = await put('own', 1);
    const changes = await store.transactions.transaction(async (tx) => {
      await rows().updateOne({ _id: 'own' }, { $set: { n: 2 } }, sessionOf(tx));
      expect(await tx.changes()).toEqual([]);
      const row = await read('own', tx);
      expect(row?.value.n).toBe(2);
      expect((await read('own', tx))?.version).toBe(row?.version);
      return await tx.changes();
    }, CALL);
    expect(changes).toMatchObject([{ source: things.source, key: 'own', op: 'put' }]);
    expect(changes[0]?.version).toBeGreaterThan(before);
    expect((await read('own'))?.version).toBe(changes[0]?.version);
  });

  test('a read of what nobody changed writes nothing', async () => {
    const before = await put('quiet', 1);
    const changes = await store.transactions.transaction(async (tx) => {
      expect((await read('quiet', tx))?.version).toBe(before);
      // Somebody else may write it meanwhile: nothing here stands in the way.
      await put('quiet', 2);
      expect((await read('quiet', tx))?.value.n).toBe(1);
      return await tx.changes();
    }, CALL);
    expect(changes).toEqual([]);
  });

  test('a deletion is told from a row that somebody else has inserted since', async () => {
    await put('deleted', 1);
    let tries = 0;
    const changes = await store.transactions.transaction(async (tx) => {
      tries += 1;
      await rows().deleteOne({ _id: 'deleted' }, sessionOf(tx));
      expect(await read('deleted', tx)).toBeUndefined();
      // The snapshot stands; this row comes after it.
      if (tries === 1) await put('late', 1);
      const late = await read('late', tx);
      if (tries === 2) expect(late?.value.n).toBe(1);
      return await tx.changes();
    }, CALL);
    expect(tries).toBe(2);
    expect(changes.map(({ key, op }) => [key, op])).toEqual([['deleted', 'delete']]);
    expect(await read('deleted')).toBeUndefined();
    expect((await read('late'))?.value.n).toBe(1);
  });
});

describe('own statements that come after Lockstep’s look at the row', () => {
  const increment = (key: string, tx: StoreTransaction): Promise<unknown> =>
    rows().updateOne({ _id: key }, { $inc: { n: 10 } }, sessionOf(tx));

  test.each([
    ['a read', (key: string, tx: StoreTransaction): Promise<unknown> => read(key, tx)],
    ['a put', (key: string, tx: StoreTransaction): Promise<unknown> => put(key, 1, tx)],
  ])('%s: the row gets a version of their own by the commit', async (what, look) => {
    const key = `after ${what}`;
    const before = await put(key, 1);
    const changes = await store.transactions.transaction(async (tx) => {
      await look(key, tx);
      await increment(key, tx);
      return await tx.changes();
    }, CALL);
    const row = await read(key);
    expect(row?.value.n).toBe(11);
    expect(row?.version).toBeGreaterThan(before);
    expect(changes.map(({ key: changed, version }) => [changed, version])).toEqual([[key, row?.version]]);
  });

  test('a put inside is not the last version of the row where they changed it again', async () => {
    let own = 0;
    await store.transactions.transaction(async (tx) => {
      own = await put('twice', 1, tx);
      await increment('twice', tx);
      return await tx.changes();
    }, CALL);
    expect((await read('twice'))?.version).toBeGreaterThan(own);
  });

  test('deletions and insertions, too', async () => {
    const before = await put('comes', 1);
    await put('goes', 1);
    await things.write([{ kind: 'delete', key: 'comes', above: 0 }], CALL);
    const changes = await store.transactions.transaction(async (tx) => {
      await Promise.all([read('goes', tx), read('comes', tx)]);
      await rows().deleteOne({ _id: 'goes' }, sessionOf(tx));
      await rows().insertOne({ _id: 'comes', n: 2 }, sessionOf(tx));
      return await tx.changes();
    }, CALL);
    expect(new Map(changes.map(({ key, op }) => [key, op]))).toEqual(
      new Map([
        ['goes', 'delete'],
        ['comes', 'put'],
      ]),
    );
    expect((await read('comes'))?.version).toBeGreaterThan(before);
    const [late] = await things.write(
      [{ kind: 'flush', key: 'goes', value: { _id: 'goes', n: 9 }, version: before + 1 }],
      CALL,
    );
    expect(late?.kind).toBe('superseded');
  });

  test('an old copy of the document, version included, goes above the newest', async () => {
    await put('copied', 1);
    const old = await rows().findOne({ _id: 'copied' });
    const newest = await put('copied', 2);
    await store.transactions.transaction(async (tx) => {
      await rows().replaceOne({ _id: 'copied' }, old ?? { n: 0 }, sessionOf(tx));
      const row = await read('copied', tx);
      expect(row).toMatchObject({ value: { n: 1 } });
      expect(row?.version).toBeGreaterThan(newest);
    }, CALL);
    expect((await read('copied'))?.version).toBeGreaterThan(newest);
  });
});

describe('a transaction that is over', () => {
  const OVER = { code: 'LOCKSTEP_TRANSACTION_OVER' };
  const refusedBy = async (tx: StoreTransaction, key: string): Promise<void> => {
    await expect(put(key, 9, tx)).rejects.toMatchObject(OVER);
    await expect(read(key, tx)).rejects.toMatchObject(OVER);
    await expect(rows().insertOne({ _id: key, n: 9 }, sessionOf(tx))).rejects.toThrow('session');
    await expect(rows().find({}, sessionOf(tx)).toArray()).rejects.toThrow('session');
    expect(await read(key)).toBeUndefined();
  };

  test('committed, thrown, aborted or out of time: calls and statements on its session are refused', async () => {
    const abort = new AbortController();
    const ends: [string, (tx: StoreTransaction) => Promise<unknown>, object][] = [
      ['over-committed', async () => undefined, CALL],
      ['over-thrown', () => Promise.reject(new Error('no')), CALL],
      [
        'over-aborted',
        async () => {
          abort.abort();
          await new Promise(() => undefined);
        },
        { ...CALL, signal: abort.signal },
      ],
      ['over-late', () => new Promise(() => undefined), { timeoutMs: 300 }],
    ];
    for (const [key, end, options] of ends) {
      let open: StoreTransaction | undefined;
      const running = store.transactions.transaction(
        async (tx) => {
          open = tx;
          await put(`${key} before`, 1, tx);
          await end(tx);
        },
        options as typeof CALL,
      );
      await running.catch(() => undefined);
      await refusedBy(open as StoreTransaction, key);
      expect((await read(`${key} before`))?.value.n).toBe(key === 'over-committed' ? 1 : undefined);
    }
  });

  test('out of time in the middle of a call: what is left of the body is refused, and nothing is committed', async () => {
    const abort = new AbortController();
    const outcomes: unknown[] = [];
    const ended = Promise.withResolvers<void>();
    const running = store.transactions.transaction(
      async (tx) => {
        const calls = ['torn 1', 'torn 2', 'torn 3'].map((key) => put(key, 1, tx));
        abort.abort();
        for (const { status } of await Promise.allSettled(calls)) outcomes.push(status);
        await refusedBy(tx, 'torn 4');
        ended.resolve();
      },
      { ...CALL, signal: abort.signal },
    );
    await expect(running).rejects.toThrow();
    await ended.promise;
    expect(outcomes).toEqual(['rejected', 'rejected', 'rejected']);
    for (const n of [1, 2, 3]) expect(await read(`torn ${n}`)).toBeUndefined();
  });

  test('a refusal that the body swallows: further calls are refused with it as the cause, and nothing is committed', async () => {
    await rows().createIndex({ only: 1 }, { unique: true, sparse: true });
    await rows().insertOne({ _id: 'has it', n: 1, only: 'one' } as never);
    const cause = { code: 'LOCKSTEP_STORE_REFUSED', mayDependOnOthers: true };
    const running = store.transactions.transaction(async (tx) => {
      await put('swallowed', 1, tx);
      const value = { _id: 'wants it', n: 1, only: 'one' } as never;
      const [outcome] = await things.write([{ kind: 'put', key: 'wants it', value, above: 0 }], {
        ...CALL,
        tx,
      });
      expect(outcome).toMatchObject({ kind: 'failed', error: cause });
      await expect(put('after', 1, tx)).rejects.toMatchObject({ ...OVER, cause });
    }, CALL);
    await expect(running).rejects.toMatchObject({ ...cause, cause });
    expect(await read('swallowed')).toBeUndefined();
  });

  test('modes that MongoDB does not have are refused by name', async () => {
    const body = async (): Promise<void> => undefined;
    await store.transactions.transaction(body, { ...CALL, isolation: 'repeatable read' });
    for (const mode of [{ isolation: 'serializable' }, { readOnly: true }, { deferrable: true }] as const) {
      await expect(store.transactions.transaction(body, { ...CALL, ...mode })).rejects.toMatchObject({
        code: 'LOCKSTEP_UNSUPPORTED',
      });
    }
  });
});

describe('races', () => {
  test('a flush onto nothing, while the row is inserted and deleted, meets the tombstone (G3)', async () => {
    const barrier = new FlushBarrier(store, server);
    const { outcome, version } = await barrier.run('raced', Date.now() * 1000 + 1, comeAndGo);
    expect(outcome).toEqual({ kind: 'superseded', version });
    expect(await read('raced')).toBeUndefined();
  });

  test.each([
    ['no tombstone', async () => undefined],
    ['an older tombstone', async (key: string) => await comeAndGo(things, key)],
  ])(
    'a late flush onto %s, while a buffered delete of no row is flushed, meets it (G9)',
    async (what, before) => {
      const key = `late onto ${what}`;
      await before(key);
      const flushed = Date.now() * 1000 + 1_000_001;
      const barrier = new FlushBarrier(store, server);
      const { outcome, version } = await barrier.run(key, flushed, async () => {
        const [deleted] = await things.write(
          [{ kind: 'flush', key, value: null, version: flushed + 100_000 }],
          CALL,
        );
        return deleted?.kind === 'written' ? deleted.version : 0;
      });
      expect(version).toBe(flushed + 100_000);
      expect(outcome).toEqual({ kind: 'superseded', version });
      expect(await read(key)).toBeUndefined();
    },
  );

  test.each([
    ['_id', 'dropped'],
    // The drop has taken the unique index with it.
    ['email', 'dropped'],
    ['email', 'made anew'],
  ])(
    'an insert by %s of a row that must not be there, into a collection that was %s, meets one that came meanwhile',
    async (keyField, how) => {
      const key = 'first of a new collection';
      const name = `${how}, by ${keyField}`;
      const dropped = store.collection<Document, string>(name, { key: keyField });
      await raw.createCollection(name);
      if (keyField !== '_id') await raw.collection(name).createIndex({ [keyField]: 1 }, { unique: true });
      await store.attach([dropped]);
      await raw.dropCollection(name);
      if (how === 'made anew') await raw.createCollection(name);
      // Stopped between its look at the row and its look at the tombstones.
      const outcome = await new FlushBarrier(store, server).insert({ name, keyField }, key, async () => {
        await dropped.write([{ kind: 'put', key, value: { [keyField]: key, n: 1 }, above: 0 }], CALL);
      });
      expect(outcome.kind).toBe('conflict');
      expect((await dropped.read([key], PRIMARY))[0]?.value['n']).toBe(1);
      expect(await raw.collection(name).countDocuments({ [keyField]: key })).toBe(1);
    },
  );

  test('an insert that waited for a deletion is above its tombstone', async () => {
    await put('waited', 1);
    const [buried, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const deleting = store.transactions.transaction(async (tx) => {
      const [outcome] = await things.write([{ kind: 'delete', key: 'waited', above: 0 }], { ...CALL, tx });
      buried.resolve();
      await go.promise;
      return outcome?.kind === 'written' ? outcome.version : 0;
    }, CALL);
    await buried.promise;
    const inserting = put('waited', 2);
    go.resolve();
    expect(await inserting).toBeGreaterThan(await deleting);
    expect((await read('waited'))?.value.n).toBe(2);
  });

  test('many batches on the same keys, deletions among them: versions and rows agree in the end', async () => {
    const keys = Array.from({ length: 10 }, (_, n) => `hot ${n}`);
    const highest = new Map<string, { version: number; n: number | undefined }>();
    await Promise.all(
      Array.from({ length: 12 }, async (_, n) => {
        const outcomes = await things.write(
          keys.map((key) =>
            n % 4 === 3
              ? { kind: 'delete' as const, key, above: 0 }
              : { kind: 'put' as const, key, value: { _id: key, n }, above: 0 },
          ),
          CALL,
        );
        outcomes.forEach((outcome, at) => {
          const key = keys[at] ?? '';
          if (outcome.kind === 'failed') throw outcome.error;
          if (outcome.kind !== 'written') return;
          // What is read back may be a later writer's: the pair is what counts.
          const known = highest.get(key);
          const value = outcome.value?.n;
          if (known?.version === outcome.version) expect(value).toBe(known.n);
          if ((known?.version ?? 0) < outcome.version)
            highest.set(key, { version: outcome.version, n: value });
        });
      }),
    );
    for (const key of keys) {
      const row = await read(key);
      const last = highest.get(key);
      expect(row?.value.n).toBe(last?.n);
      if (row !== undefined) expect(row.version).toBe(last?.version);
    }
  });
});

test('the body’s own error comes out as it is, and a foreign transaction is refused by name', async () => {
  const reason = new Error('mine');
  await expect(store.transactions.transaction(() => Promise.reject(reason), CALL)).rejects.toBe(reason);
  const foreign: StoreTransaction = { client: {}, changes: async () => [] };
  await expect(things.read(['a'], { ...PRIMARY, tx: foreign })).rejects.toThrow(StoreRefusedError);
});

test('a transient error of the user’s own statement runs the body again, by its label', async () => {
  await put('conflicted', 1);
  let tries = 0;
  await store.transactions.transaction(async (tx) => {
    tries += 1;
    await rows().findOne({ _id: 'other' }, sessionOf(tx));
    if (tries === 1) await put('conflicted', 2);
    await rows().updateOne({ _id: 'conflicted' }, { $inc: { n: 10 } }, sessionOf(tx));
  }, CALL);
  expect(tries).toBe(2);
  expect((await read('conflicted'))?.value.n).toBe(12);
});

test('a body can’t end its transaction: what it does after trying is part of it, and is rolled back with it', async () => {
  await put('kept', 1);
  const reason = new Error('mine');
  for (const end of ['commitTransaction', 'abortTransaction', 'endSession', 'startTransaction'] as const) {
    const running = store.transactions.transaction(async (tx) => {
      await put('kept', 2, tx);
      const { session } = sessionOf(tx);
      await expect((async () => session[end]())()).rejects.toMatchObject({ code: 'LOCKSTEP_UNSUPPORTED' });
      await rows().updateOne({ _id: 'kept' }, { $set: { n: 3 } }, { session });
      await put('kept', 4, tx);
      throw reason;
    }, CALL);
    await expect(running).rejects.toBe(reason);
  }
  expect((await rows().findOne({ _id: 'kept' }))?.n).toBe(1);
});

test('noteChanges refuses a session of the user’s own', async () => {
  const session = (await server.client()).startSession();
  await expect(store.noteChanges(session, things, ['a'])).rejects.toThrow(/noteChanges.session/);
  await session.endSession();
});

describe('a failure of the user’s own statement that the body swallows', () => {
  const refused = (tx: StoreTransaction): Promise<unknown> =>
    rows().insertOne({ _id: 'there', n: 2 }, sessionOf(tx));

  test.each<[string, (tx: StoreTransaction) => Promise<unknown>]>([
    ['returns', async () => undefined],
    ['goes on with Lockstep’s calls', (tx) => put('behind it', 1, tx)],
    ['goes on with statements of its own', (tx) => rows().findOne({ _id: 'there' }, sessionOf(tx))],
    ['swallows all that follows', (tx) => put('behind it', 1, tx).catch(() => undefined)],
  ])('ends in an error that says so, after a few runs, where the body %s', async (_, goOn) => {
    await rows().updateOne({ _id: 'there' }, { $set: { n: 1 } }, { upsert: true });
    let tries = 0;
    const running = store.transactions.transaction(async (tx) => {
      tries += 1;
      await put('before it', 1, tx);
      await refused(tx).catch(() => undefined);
      await goOn(tx);
      return await tx.changes();
    }, CALL);
    await expect(running).rejects.toMatchObject({
      code: 'LOCKSTEP_STORE_UNAVAILABLE',
      outcome: 'not-committed',
      message: expect.stringMatching(/a statement of the transaction failed and its body went on/),
    });
    expect(tries).toBeLessThanOrEqual(5);
    expect(await read('before it')).toBeUndefined();
  });
});
