import { inspect } from 'node:util';
import type { Change, StoreTransaction, TransactionHost, Version } from '@lockstep/core';
import { expectEqual, expectRejection, expectThat } from '../kit/expect.js';
import { bounded } from '../kit/runner.js';
import { hookOf, type StoreCase, type StoreClaims, type StoreContext } from './context.js';

export function hostOf(c: StoreContext): TransactionHost {
  const { transactions } = c.store;
  expectThat(
    transactions !== undefined,
    'capabilities.transactions is claimed, but store.transactions is missing',
  );
  return transactions;
}

export function changeAt(changes: readonly Change[], key: string): Change | undefined {
  const found = changes.filter((change) => change.key === key);
  expectThat(found.length <= 1, `changes() must name a row once, got ${inspect(found)}`);
  return found[0];
}

const OVER = 'LOCKSTEP_TRANSACTION_OVER';

/** Fails unless a write and a read with the transaction are refused, and leave the row as it was: absent. */
export async function expectOver(c: StoreContext, tx: StoreTransaction, when: string): Promise<void> {
  const row = c.newRow();
  const written = await row.put(1, { tx }).catch((error: unknown) => ({ kind: 'failed', error }) as const);
  const refusal = written.kind === 'failed' ? (written.error as { code?: unknown }).code : written.kind;
  expectEqual(refusal, OVER, `a write with a transaction that is over, ${when}`);
  const read = await row.read(tx).then(
    () => 'answered',
    (error: { code?: unknown }) => error.code,
  );
  expectEqual(read, OVER, `a read with a transaction that is over, ${when}`);
  if (c.underTest.writeInTransaction !== undefined) {
    const own = hookOf(c, 'writeInTransaction')(tx.client, row.id, row.value(2));
    await expectRejection(own, `a statement of the user's own in a transaction that is over, ${when}`);
  }
  await row.expectRow(undefined);
}

/** Transactions: what they show, what they leave, what they say they changed. */
export function transactionCases(test: StoreCase, { requires, gives }: StoreClaims): void {
  if (!requires('transactions')) return;

  test('transaction: what it wrote is there after the commit, and nobody saw it before', async (c) => {
    const [made, changed, gone] = [c.newRow(), c.newRow(), c.newRow()];
    await changed.putVersion(1);
    await gone.putVersion(1);
    const result = await hostOf(c).transaction(async (tx) => {
      await made.putVersion(2, { tx });
      await changed.putVersion(3, { tx });
      await gone.deleteVersion({ tx });
      await made.expectRow(undefined);
      await changed.expectRow(1);
      await gone.expectRow(1);
      return 'done';
    }, c.call);
    expectEqual(result, 'done', "what the transaction's body returned");
    await made.expectRow(2);
    await changed.expectRow(3);
    await gone.expectRow(undefined);
  });

  test('transaction: a row that is read with lock is changed by nobody else before its end', async (c) => {
    if (c.store.capabilities.locks !== true) return;
    const row = c.newRow();
    await row.putVersion(1);
    let other: Promise<Version> | undefined;
    const version = await hostOf(c).transaction(async (tx) => {
      const read = { ...c.call, primary: true, tx };
      const [found] = await c.store.read([row.key], { ...read, lock: true });
      expectThat(found !== undefined, 'a read with lock must find the row');
      other ??= row.putVersion(3);
      // Where the body fails first, nobody waits for it.
      other.catch(() => undefined);
      const [again] = await c.store.read([row.key], read);
      expectEqual(again?.version, found.version, 'the version of a row that is locked');
      return await row.putVersion(2, { tx, ifVersion: found.version });
    }, c.call);
    const last = (await other) ?? 0;
    expectThat(last > version, `the other write came after ${version}, and has the version ${last}`);
    await row.expectRow(3, last);
  });

  test('transaction: reads in it see its own writes', async (c) => {
    const [row, gone] = [c.newRow(), c.newRow()];
    await gone.putVersion(1);
    await hostOf(c).transaction(async (tx) => {
      const version = await row.putVersion(1, { tx });
      const found = await row.read(tx);
      expectEqual(found?.version, version, 'the version read in the transaction');
      await gone.deleteVersion({ tx });
      expectEqual(await gone.read(tx), undefined, 'a row that the transaction deleted');
    }, c.call);
  });

  test('transaction: a row that it puts after another writer has deleted it is above that delete (G3)', async (c) => {
    const [row, other] = [c.newRow(), c.newRow()];
    await row.putVersion(1);
    let deleted = 0;
    const version = await hostOf(c).transaction(async (tx) => {
      // A transaction that keeps a snapshot has it from here on: the delete is refused to it, or seen.
      await other.read(tx);
      if (deleted === 0) deleted = await row.deleteVersion();
      return await row.putVersion(2, { tx });
    }, c.call);
    expectThat(version > deleted, `the put must be above the delete at ${deleted}, got ${version}`);
    await row.expectRow(2, version);
  });

  test('transaction: a throw rolls everything back and comes out as it was (G1)', async (c) => {
    const [made, changed] = [c.newRow(), c.newRow()];
    const version = await changed.putVersion(1);
    const reason = new Error('the body has changed its mind');
    const thrown = await expectRejection(
      hostOf(c).transaction(async (tx) => {
        await made.putVersion(2, { tx });
        await changed.putVersion(3, { tx });
        throw reason;
      }, c.call),
      'the transaction',
    );
    expectThat(thrown === reason, `it must reject with the body's own error, got ${inspect(thrown)}`);
    await made.expectRow(undefined);
    await changed.expectRow(1, version);
  });

  test('transaction: changes() names each row once, with its newest version and what became of it', async (c) => {
    const [made, twice, gone] = [c.newRow(), c.newRow(), c.newRow()];
    await gone.putVersion(1);
    let changes: readonly Change[] = [];
    const versions = await hostOf(c).transaction(async (tx) => {
      expectEqual((await tx.changes()).length, 0, 'the changes of a transaction that changed nothing');
      const first = await made.putVersion(1, { tx });
      const before = await twice.putVersion(1, { tx });
      const second = await twice.putVersion(2, { tx });
      expectThat(second > before, `the second write of a row must be above ${before}, got ${second}`);
      const third = await gone.deleteVersion({ tx });
      changes = await tx.changes();
      return [first, second, third];
    }, c.call);
    expectEqual(
      [made, twice, gone].map(({ key }) => {
        const change = changeAt(changes, key);
        return [change?.source, change?.version, change?.op];
      }),
      [
        [c.store.source, versions[0], 'put'],
        [c.store.source, versions[1], 'put'],
        [c.store.source, versions[2], 'delete'],
      ],
      'the changes',
    );
    await made.expectRow(1, versions[0]);
    await twice.expectRow(2, versions[1]);
  });

  if (gives('writeInTransaction')) {
    test("transaction: the user's own statements are versioned and among its changes", async (c) => {
      const writeInTransaction = hookOf(c, 'writeInTransaction');
      const [made, changed, gone] = [c.newRow(), c.newRow(), c.newRow()];
      const before = await changed.putVersion(1);
      const last = await gone.putVersion(1);
      let changes: readonly Change[] = [];
      await hostOf(c).transaction(async (tx) => {
        await writeInTransaction(tx.client, made.id, made.value(2));
        await writeInTransaction(tx.client, changed.id, changed.value(3));
        await writeInTransaction(tx.client, gone.id, null);
        changes = await tx.changes();
      }, c.call);
      await made.expectRow(2, changeAt(changes, made.key)?.version);
      await changed.expectRow(3, changeAt(changes, changed.key)?.version);
      await gone.expectRow(undefined);
      expectThat((changeAt(changes, changed.key)?.version ?? 0) > before, 'an update must raise the version');
      const removal = changeAt(changes, gone.key);
      expectEqual(removal?.op, 'delete', 'what became of the deleted row');
      expectThat((removal?.version ?? 0) > last, 'a delete must raise the version');
    });
  }

  test('transaction: many on one row leave the highest version', async (c) => {
    const row = c.newRow();
    await row.putVersion(0);
    const writes = Array.from({ length: 8 }, async (_, n) => ({
      n,
      version: await (n % 2 === 0
        ? hostOf(c).transaction((tx) => row.putVersion(n, { tx }), c.call)
        : row.putVersion(n)),
    }));
    const done = await Promise.all(writes);
    expectEqual(new Set(done.map(({ version }) => version)).size, 8, 'the number of versions given');
    const last = done.reduce((a, b) => (a.version > b.version ? a : b));
    await row.expectRow(last.n, last.version);
  });

  test('transaction: of two that wait for each other both are committed in the end', async (c) => {
    const [a, b] = [c.newRow(), c.newRow()];
    await a.putVersion(0);
    await b.putVersion(0);
    const both = Promise.withResolvers<void>();
    let holding = 0;
    const run = (first: typeof a, second: typeof a, n: number): Promise<void> => {
      let tries = 0;
      return hostOf(c).transaction(async (tx: StoreTransaction) => {
        tries += 1;
        await first.putVersion(n, { tx });
        holding += 1;
        if (holding === 2) both.resolve();
        if (tries === 1) await both.promise;
        await second.putVersion(n, { tx });
      }, c.call);
    };
    await Promise.all([run(a, b, 1), run(b, a, 2)]);
    const [one, other] = [await a.read(), await b.read()];
    expectThat(one !== undefined && other !== undefined, 'both rows must be there');
    const n = c.matches(one.value, a.value(1)) ? 1 : 2;
    await a.expectRow(n);
    await b.expectRow(n);
  });

  test('time-out: a write that waits for a locked row ends in time and is not committed later', async (c) => {
    const row = c.newRow();
    const before = await row.putVersion(0);
    const [locked, over] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const holder = hostOf(c).transaction(async (tx) => {
      const version = await row.putVersion(1, { tx });
      locked.resolve();
      await over.promise;
      return version;
    }, c.call);
    await Promise.race([locked.promise, holder]);
    const command = { kind: 'put', key: row.key, value: row.value(2), above: 0 } as const;
    const waiting = c.store
      .write([command], { timeoutMs: 300 })
      .catch((error: unknown) => [{ kind: 'failed', error }] as const);
    try {
      const [outcome] = await bounded('a write with a time-out of 300 ms', c.deadlineMs, waiting);
      expectEqual(outcome?.kind, 'failed', 'the outcome of the write that waited');
    } finally {
      over.resolve();
    }
    const version = await holder;
    expectThat(version > before, "the holder's version must be above the row's");
    const next = await row.put(3, requires('compareAndSet') ? { ifVersion: version } : {});
    const written = c.expectWritten(next, "a write right after the holder's commit");
    await row.expectRow(3, written.version);
  });

  test('time-out: a transaction whose body takes too long is rolled back (G1)', async (c) => {
    const row = c.newRow();
    const over = Promise.withResolvers<void>();
    const late = hostOf(c).transaction(
      async (tx) => {
        await row.putVersion(1, { tx });
        await over.promise;
      },
      { timeoutMs: 300 },
    );
    try {
      await bounded(
        'a transaction with a time-out of 300 ms',
        c.deadlineMs,
        expectRejection(late, 'the transaction'),
      );
    } finally {
      over.resolve();
    }
    await row.expectRow(undefined);
    await row.putVersion(2);
    await row.expectRow(2);
  });

  test('transaction: one that is over takes no calls and no statements any more (G1)', async (c) => {
    const late = Promise.withResolvers<void>();
    const ends: readonly (readonly [string, () => Promise<void>, number])[] = [
      ['committed', async () => undefined, c.call.timeoutMs],
      ['thrown out of', () => Promise.reject(new Error('the body has changed its mind')), c.call.timeoutMs],
      ['out of time', () => late.promise, 300],
    ];
    for (const [when, end, timeoutMs] of ends) {
      const row = c.newRow();
      let over: StoreTransaction | undefined;
      const running = hostOf(c).transaction(
        async (tx) => {
          over = tx;
          await row.putVersion(1, { tx });
          await end();
        },
        { timeoutMs },
      );
      await bounded(`a transaction that is ${when}`, c.deadlineMs, Promise.allSettled([running]));
      expectThat(over !== undefined, 'the body must have run');
      await expectOver(c, over, when);
      await row.expectRow(when === 'committed' ? 1 : undefined);
    }
    late.resolve();
  });
}
