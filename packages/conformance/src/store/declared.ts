import type { ColumnTexts, StoreDeclarations } from '@lockstep/core';
import { expectEqual, expectThat } from '../kit/expect.js';
import { fieldOf, hookOf, type StoreCase, type StoreClaims, type StoreContext } from './context.js';

type Row = ReturnType<StoreContext['newRow']>;

/** The texts that a row must be told with, by the store's own names. */
function textsOf(c: StoreContext, row: Row, n: number): ColumnTexts {
  const store = declarations(c);
  const { tags = [] } = hookOf(c, 'declared');
  const properties = [...new Set(tags.flat())];
  return Object.fromEntries(
    properties.map((property) => [
      store.columnOf(property),
      store.textOf(property, fieldOf(row.value(n), property)),
    ]),
  );
}

function declarations(c: StoreContext): StoreDeclarations<StoreContext['call']> {
  const { declared } = c.store;
  if (declared === undefined)
    throw new Error('the factory gives "declared", and the adapter has no declarations');
  return declared;
}

/** True where the texts hold these, among those of other columns. */
function holds(texts: ColumnTexts | undefined, wanted: ColumnTexts): boolean {
  return texts !== undefined && Object.entries(wanted).every(([column, text]) => texts[column] === text);
}

/** Values of declared columns: what a row had and gets, in outcomes and transactions, and rows by a unique index. */
export function declaredCases(test: StoreCase, { gives, requires }: StoreClaims): void {
  if (!gives('declared')) return;

  test('declared: what a write replaced and brought', async (c) => {
    const row = c.newRow();
    await declarations(c).check(hookOf(c, 'declared'));
    const states = [textsOf(c, row, 1), textsOf(c, row, 2)] as const;
    const first = c.expectWritten(await row.put(1), 'a first put');
    expectThat(
      first.texts?.length === 1 && holds(first.texts[0], states[0]),
      'a first put: what the row gets',
    );
    const second = c.expectWritten(await row.put(2), 'a second put');
    expectThat(
      second.texts?.length === 2 && states.every((state, i) => holds(second.texts?.[i], state)),
      'a second put: what the row had, and gets',
    );
    const deleted = c.expectWritten(await row.delete(), 'a delete');
    expectThat(
      deleted.texts?.length === 1 && holds(deleted.texts[0], states[1]),
      'a delete: what the row had',
    );
  });

  test('declared: of each row of a batch its own', async (c) => {
    const rows = Array.from({ length: 5 }, () => c.newRow());
    await declarations(c).check(hookOf(c, 'declared'));
    const outcomes = await c.write(
      rows.map((row, n) => ({ kind: 'put', key: row.key, value: row.value(n), above: 0 })),
    );
    for (const [n, row] of rows.entries()) {
      const { texts } = c.expectWritten(outcomes[n], `put ${n}`);
      expectThat(holds(texts?.at(-1), textsOf(c, row, n)), `put ${n} tells what row ${n} gets`);
    }
  });

  if (requires('transactions')) {
    test('declared: a transaction tells what it found and leaves', async (c) => {
      const row = c.newRow();
      await declarations(c).check(hookOf(c, 'declared'));
      await row.putVersion(1);
      await c.store.transactions?.transaction(async (tx) => {
        await row.put(2, { tx });
        await row.put(3, { tx });
        const change = (await tx.changes()).find(({ key }) => key === row.key);
        expectThat(holds(change?.texts?.[0], textsOf(c, row, 1)), 'what the row had');
        expectThat(holds(change?.texts?.at(-1), textsOf(c, row, 3)), 'what the row gets');
      }, c.call);
    });
  }

  test('declared: a row is found by a unique index, and none where there is none', async (c) => {
    const { unique = [] } = hookOf(c, 'declared');
    const [set] = unique;
    if (set === undefined) return;
    const store = declarations(c);
    await store.check({ unique });
    const [row, other] = [c.newRow(), c.newRow()];
    await row.putVersion(1);
    const stored = (await row.read())?.value;
    const texts = set.map((property) => store.textOf(property, fieldOf(stored, property)) ?? '');
    await row.deleteVersion();
    expectEqual(await store.find(set, [texts], c.call), [undefined], 'of a deleted row');
    await row.putVersion(1);
    await other.putVersion(2);
    expectEqual(await store.find(set, [texts, texts], c.call), [row.key, row.key], 'of a row');
    expectEqual(store.textOf(set[0] ?? '', null), null, 'the text of null');
  });
}
