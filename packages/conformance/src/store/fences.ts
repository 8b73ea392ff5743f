import { inspect } from 'node:util';
import {
  type StoreFence,
  type StoreOutcome,
  StoreTimeoutError,
  type StoreTransaction,
  type TransactionHost,
} from '@lockstep/core';
import { expectEqual, expectThat } from '../kit/expect.js';
import { bounded } from '../kit/runner.js';
import type { StoreCase, StoreClaims, StoreContext, TestRow } from './context.js';

/** Short enough to wait for, in ms. */
const SHORT_MS = 300;
/** How long `settle` waits for what holds it up. A connection may take a while to be had, which rejects. */
const SETTLE_MS = 1_000;
/** A call's bound that is far behind its deadline, so that the two can't be taken for each other. */
const LONG_MS = 10_000;

function fenceOf({ store }: StoreContext): StoreFence {
  expectThat(store.fence !== undefined, 'a fence is required, but store.fence is missing');
  return store.fence;
}

function hostOf({ store }: StoreContext): TransactionHost {
  expectThat(store.transactions !== undefined, 'store.transactions is missing');
  return store.transactions;
}

function expectLate(outcome: StoreOutcome<unknown> | undefined, what: string): void {
  const late = outcome?.kind === 'failed' && outcome.error instanceof StoreTimeoutError;
  expectThat(late, `${what} after its deadline must fail with a StoreTimeoutError, got ${inspect(outcome)}`);
}

/** A write of the row with this deadline, and what became of it. */
async function putBy(c: StoreContext, row: TestRow<unknown, unknown>, n: number, notAfterMs: number) {
  const { key } = row;
  const [outcome] = await c.store.write([{ kind: 'put', key, value: row.value(n), above: 0 }], {
    ...c.call,
    timeoutMs: LONG_MS,
    notAfterMs,
  });
  return outcome;
}

/** Runs `meanwhile` while a transaction is open that has done `first`; then ends it, by a throw where `rollsBack`. */
async function duringTransaction(
  c: StoreContext,
  first: (tx: StoreTransaction) => Promise<unknown>,
  meanwhile: () => Promise<void>,
  rollsBack = false,
): Promise<void> {
  const reason = new Error('rolled back by the case');
  let tries = 0;
  const running = hostOf(c).transaction(async (tx) => {
    await first(tx);
    tries += 1;
    if (tries === 1) await meanwhile();
    if (rollsBack) throw reason;
  }, c.call);
  await running.catch((error: unknown) => {
    if (error !== reason) throw error;
  });
}

/** Nobody may be there to hear a rejection once a case has failed. */
function underWay<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

/** Deadlines that the store checks, and the wait for whoever passed them and has not committed yet (G7). */
export function fenceCases(test: StoreCase, { requires }: StoreClaims): void {
  if (!requires('fence')) return;

  test('fence: its clock is never ahead of the one that stamps versions, nor far behind it', async (c) => {
    const fence = fenceOf(c);
    const before = await fence.nowMs();
    const version = await c.newRow().putVersion(1);
    expectThat(before <= version / 1_000, `nowMs() was ${before}, the row's version after it is ${version}`);
    await c.eventually('the clock is past that version', async () => {
      return (await fence.nowMs()) >= Math.floor(version / 1_000);
    });
  });

  test('fence: a write in time is a write as any other', async (c) => {
    const notAfterMs = (await fenceOf(c).nowMs()) + 10 * c.call.timeoutMs;
    const rows = [c.newRow(), c.newRow(), c.newRow()];
    await rows[1]?.putVersion(1);
    const commands = rows.map(({ key, value }) => ({ kind: 'put', key, value: value(2), above: 0 }) as const);
    const outcomes = await c.store.write(commands, { ...c.call, notAfterMs });
    for (const [at, row] of rows.entries()) {
      const { version } = c.expectWritten(outcomes[at], `put ${at}`);
      await row.expectRow(2, version);
    }
    const [first] = rows;
    expectThat(first !== undefined, 'there is a row');
    const [gone] = await c.store.write([{ kind: 'delete', key: first.key, above: 0 }], {
      ...c.call,
      notAfterMs,
    });
    c.expectWritten(gone, 'delete');
    await first.expectRow(undefined);
  });

  test('fence: a write after its deadline is refused, whatever the command', async (c) => {
    const notAfterMs = (await fenceOf(c).nowMs()) - 1_000;
    const [made, changed, other] = [c.newRow(), c.newRow(), c.newRow()];
    const version = await changed.putVersion(1);
    const { key } = changed;
    const value = changed.value(2);
    const commands = [
      { kind: 'put', key: made.key, value: made.value(2), above: 0 },
      { kind: 'put', key, value, above: 0 },
      { kind: 'delete', key, above: 0 },
      ...(requires('compareAndSet')
        ? ([
            { kind: 'put', key: made.key, value: made.value(2), above: 0, ifVersion: null },
            { kind: 'put', key, value, above: 0, ifVersion: version },
            { kind: 'delete', key, above: 0, ifVersion: version },
          ] as const)
        : []),
      ...(requires('increment') && c.underTest.counter !== undefined
        ? ([{ kind: 'increment', key, field: c.underTest.counter, by: 1, above: 0 }] as const)
        : []),
    ] as const;
    for (const command of commands) {
      const [outcome] = await c.store.write([command], { ...c.call, notAfterMs });
      expectLate(outcome, command.kind);
    }
    const together = [made, changed, other].map(
      (row) => ({ kind: 'put', key: row.key, value: row.value(2), above: 0 }) as const,
    );
    for (const outcome of await c.store.write(together, { ...c.call, notAfterMs })) {
      expectLate(outcome, 'a put of several');
    }
    await made.expectRow(undefined);
    await other.expectRow(undefined);
    await changed.expectRow(1, version);
  });

  test('fence: settle is true at once where nobody writes', async (c) => {
    const fence = fenceOf(c);
    const [made, absent] = [c.newRow(), c.newRow()];
    await made.putVersion(1);
    for (const { key } of [made, absent]) {
      expectEqual(await fence.settle(key, c.call), true, 'settle() of a key that nobody writes');
    }
    await made.expectRow(1);
    await absent.expectRow(undefined);
    await absent.putVersion(1);
  });

  if (!requires('transactions')) return;

  test('fence: a write that waited for its row is judged once it has it (G7)', async (c) => {
    const fence = fenceOf(c);
    const row = c.newRow();
    await row.putVersion(1);
    let late: ReturnType<typeof putBy> | undefined;
    await duringTransaction(
      c,
      (tx) => row.put(2, { tx }),
      async () => {
        const notAfterMs = (await fence.nowMs()) + SHORT_MS;
        late = underWay(putBy(c, row, 3, notAfterMs));
        await c.eventually('the deadline is over', async () => (await fence.nowMs()) > notAfterMs + 50);
      },
    );
    expectLate(await late, 'a put that waited');
    await row.expectRow(2);
  });

  test('fence: and so is one that waited for a row that was not there, and is not there again (G7)', async (c) => {
    const fence = fenceOf(c);
    const row = c.newRow();
    let late: ReturnType<typeof putBy> | undefined;
    const rollsBack = true;
    await duringTransaction(
      c,
      (tx) => row.put(2, { tx }),
      async () => {
        const notAfterMs = (await fence.nowMs()) + SHORT_MS;
        late = underWay(putBy(c, row, 3, notAfterMs));
        await c.eventually('the deadline is over', async () => (await fence.nowMs()) > notAfterMs + 50);
      },
      rollsBack,
    );
    expectLate(await late, 'a put that waited');
    await row.expectRow(undefined);
  });

  for (const there of [true, false]) {
    const which = there ? 'of a row' : 'of a key without a row';
    test(`fence: settle ${which} waits for a transaction that entered it, to its end (G7)`, async (c) => {
      const fence = fenceOf(c);
      const [row, other] = [c.newRow(), c.newRow()];
      if (there) await row.putVersion(1);
      const long = c.call;
      let settling: Promise<boolean> | undefined;
      await duringTransaction(
        c,
        async (tx) => {
          await fence.enter([row.key], { ...c.call, tx });
          await row.put(2, { tx });
        },
        async () => {
          expectEqual(
            await bounded('settle', c.deadlineMs, fence.settle(row.key, { timeoutMs: SETTLE_MS })),
            false,
            'settle() while the transaction is open',
          );
          expectEqual(await fence.settle(other.key, long), true, 'settle() of another key');
          settling = underWay(fence.settle(row.key, long));
        },
      );
      expectEqual(await settling, true, 'settle() that saw the transaction end');
      await row.expectRow(2);
    });
  }

  test('fence: settle waits for a write with a deadline that waits for its row (G7)', async (c) => {
    const fence = fenceOf(c);
    const row = c.newRow();
    await row.putVersion(1);
    const notAfterMs = (await fence.nowMs()) + 10 * c.call.timeoutMs;
    let waiting: ReturnType<typeof putBy> | undefined;
    await duringTransaction(
      c,
      (tx) => row.put(2, { tx }),
      async () => {
        waiting = underWay(putBy(c, row, 3, notAfterMs));
        await c.eventually('settle() waits for the put, once that has come', async () => {
          return !(await fence.settle(row.key, { timeoutMs: SHORT_MS }).catch(() => true));
        });
      },
    );
    c.expectWritten(await waiting, 'the put that waited');
    expectEqual(await fence.settle(row.key, c.call), true, 'settle() after it');
    await row.expectRow(3);
  });

  test('fence: a transaction that entered a key and was rolled back is not waited for', async (c) => {
    const fence = fenceOf(c);
    const row = c.newRow();
    const rollsBack = true;
    const enter = (tx: StoreTransaction) => fence.enter([row.key], { ...c.call, tx });
    await duringTransaction(c, enter, async () => undefined, rollsBack);
    expectEqual(await fence.settle(row.key, c.call), true, 'settle() after the rollback');
    await row.expectRow(undefined);
  });
}
