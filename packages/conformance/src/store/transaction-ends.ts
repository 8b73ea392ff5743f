import { expectEqual, expectRejection } from '../kit/expect.js';
import { hookOf, type StoreCase, type StoreClaims } from './context.js';
import { changeAt, expectOver, hostOf } from './transactions.js';

/** Transactions at their end: sealed, with what travels with the commit, and after a refusal. */
export function transactionEndCases(test: StoreCase, { requires, gives }: StoreClaims): void {
  if (!requires('transactions')) return;

  test('transaction: sealed, it takes no calls and no statements, says what it changed, and commits', async (c) => {
    const row = c.newRow();
    await hostOf(c).transaction(async (tx) => {
      const version = await row.putVersion(1, { tx });
      if (tx.seal === undefined) return;
      tx.seal();
      await expectOver(c, tx, 'sealed');
      expectEqual(changeAt(await tx.changes(), row.key)?.version, version, 'the version among the changes');
    }, c.call);
    await row.expectRow(1);
  });

  test('transaction: changes that are asked with the commit are there once it has resolved', async (c) => {
    const [made, gone] = [c.newRow(), c.newRow()];
    await gone.putVersion(1);
    const [version, changes] = await hostOf(c).transaction(async (tx) => {
      const put = await made.putVersion(1, { tx });
      await gone.deleteVersion({ tx });
      tx.seal?.();
      const later = tx.changesWithCommit?.();
      const now = later === undefined ? await tx.changes() : [];
      return [put, later ?? (() => now)] as const;
    }, c.call);
    expectEqual(changeAt(changes(), made.key)?.version, version, 'the version of what was put');
    expectEqual(changeAt(changes(), gone.key)?.op, 'delete', 'what became of the deleted row');
    await made.expectRow(1);
    await gone.expectRow(undefined);
  });

  test('transaction: a row that is read with the commit is as the transaction leaves it', async (c) => {
    const [made, gone] = [c.newRow(), c.newRow()];
    await gone.putVersion(1);
    const [version, ...laters] = await hostOf(c).transaction(async (tx) => {
      const read = ({ key }: typeof made) => c.store.readWithCommit?.(key, { ...c.call, tx });
      await made.putVersion(1, { tx });
      // Asked before the transaction's last write.
      const asked = [read(made), read(gone)];
      const put = await made.putVersion(2, { tx });
      await gone.deleteVersion({ tx });
      return [put, ...asked] as const;
    }, c.call);
    const [ofMade, ofGone] = laters;
    if (ofMade === undefined || ofGone === undefined) return;
    expectEqual(ofMade()?.version, version, 'the version of what was put');
    expectEqual(ofGone(), undefined, 'the deleted row');
  });

  if (gives('refusedValue')) {
    test('transaction: a refusal that the body goes on from fails what follows, and nothing is committed (G1)', async (c) => {
      const [row, bad] = [c.newRow(), c.newRow()];
      const refusedValue = hookOf(c, 'refusedValue');
      const reason = await expectRejection(
        hostOf(c).transaction(async (tx) => {
          await row.putVersion(1, { tx });
          const put = { kind: 'put', key: bad.key, value: refusedValue(bad.id), above: 0 } as const;
          const refused = await bad.run(put, tx);
          expectEqual(refused.kind, 'failed', 'the outcome of the refused write');
          await expectOver(c, tx, 'failed');
        }, c.call),
        'a transaction whose body went on from a refusal',
      );
      const { code } = reason as { code?: unknown };
      expectEqual(code, 'LOCKSTEP_STORE_REFUSED', 'the code of the error');
      await row.expectRow(undefined);
    });
  }
}
