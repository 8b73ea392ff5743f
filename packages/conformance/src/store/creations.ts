import { inspect } from 'node:util';
import type { NewRow, StoreCommand, StoreTransaction } from '@lockstep/core';
import { expectEqual, expectThat } from '../kit/expect.js';
import { hookOf, type StoreCase, type StoreClaims, type StoreContext } from './context.js';

/** The keys that the store draws for values of these numbers. */
async function drawn(
  c: StoreContext,
  numbers: readonly number[],
  tx?: StoreTransaction,
): Promise<NewRow<unknown>[]> {
  const values = numbers.map(hookOf(c, 'newValue'));
  const rows = await c.store.newRows?.(values, { ...c.call, tx });
  expectThat(rows !== undefined, 'newRows() must answer');
  expectEqual(rows.length, values.length, 'the number of new rows');
  return rows.map((row) => {
    expectThat(!(row instanceof Error), `a new row must have a key, got ${inspect(row)}`);
    return row;
  });
}

const insertOf = ({ key, value }: NewRow<unknown>): StoreCommand<unknown> => ({
  kind: 'put',
  key,
  value,
  above: 0,
  ifVersion: null,
  drawn: true,
});

async function expectStored(c: StoreContext, key: string, n: number, tx?: StoreTransaction): Promise<void> {
  const [row] = await c.store.read([key], { ...c.call, primary: true, tx });
  expectEqual(row?.key, key, 'the key of a created row');
  const sent = hookOf(c, 'newValue')(n);
  expectThat(c.matches(row?.value, sent), `a created row must hold what was sent, holds ${inspect(row)}`);
}

/** Rows whose keys the store makes. */
export function creationCases(test: StoreCase, { gives, requires }: StoreClaims): void {
  if (!gives('newValue')) return;

  test('create: each row has a key of its own, and is there as it came back', async (c) => {
    if (c.store.newRows === undefined) {
      const rows = [];
      for (const n of [1, 2, 3]) {
        const row = await c.store.insert?.(hookOf(c, 'newValue')(n), c.call);
        expectThat(row !== undefined, 'insert() must give the row');
        await expectStored(c, row.key, n);
        rows.push(row);
      }
      expectEqual(new Set(rows.map(({ key }) => key)).size, rows.length, 'the number of keys');
      return;
    }
    const numbers = Array.from({ length: 20 }, (_, n) => n);
    const rows = [...(await drawn(c, numbers)), ...(await drawn(c, [20]))];
    expectEqual(new Set(rows.map(({ key }) => key)).size, 21, 'the number of keys');
    const outcomes = await c.write(rows.map(insertOf));
    for (const [n, outcome] of outcomes.entries()) {
      const { value } = c.expectWritten(outcome, 'a created row');
      expectThat(c.matches(value, hookOf(c, 'newValue')(n)), `a created row came back as ${inspect(value)}`);
      await expectStored(c, rows[n]?.key ?? '', n);
    }
  });

  test('create: a key that is drawn makes no row, and is drawn once', async (c) => {
    if (c.store.newRows === undefined) return;
    const [first] = await drawn(c, [1]);
    const [second] = await drawn(c, [2]);
    expectThat(first !== undefined && second !== undefined, 'two new rows');
    expectThat(first.key !== second.key, `two draws gave ${first.key}`);
    const found = await c.store.read([first.key], { ...c.call, primary: true });
    expectEqual(found, [undefined], 'a row that was not written');
  });

  test('create: where the key has a row it is a conflict, and the row stays', async (c) => {
    if (c.store.newRows === undefined || !requires('compareAndSet')) return;
    const [row] = await drawn(c, [1]);
    expectThat(row !== undefined, 'a new row');
    const [written] = await c.write([insertOf(row)]);
    const { version } = c.expectWritten(written, 'a created row');
    const [again] = await c.write([insertOf({ key: row.key, value: hookOf(c, 'newValue')(2) })]);
    expectEqual(again, { kind: 'conflict', version }, 'a second row of the key');
    await expectStored(c, row.key, 1);
  });

  if (!requires('transactions')) return;

  test('create: in a transaction the row is there with its commit, and gone when it is rolled back', async (c) => {
    if (c.store.newRows === undefined) return;
    let key = '';
    const run = async (tx: StoreTransaction): Promise<void> => {
      const [row] = await drawn(c, [7], tx);
      expectThat(row !== undefined, 'a new row');
      ({ key } = row);
      const [outcome] = await c.write([insertOf(row)], tx);
      c.expectWritten(outcome, 'a created row in a transaction');
      await expectStored(c, key, 7, tx);
      const changes = await tx.changes();
      expectThat(
        changes.some((change) => change.key === key),
        'the changes of a transaction must name a created row',
      );
    };
    await c.store.transactions?.transaction(run, c.call);
    await expectStored(c, key, 7);
    const undone = c.store.transactions?.transaction(async (tx) => {
      await run(tx);
      throw new Error('roll back');
    }, c.call);
    await undone?.catch(() => undefined);
    expectEqual(await c.store.read([key], { ...c.call, primary: true }), [undefined], 'a rolled back row');
  });
}
