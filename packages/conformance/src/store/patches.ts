import { inspect } from 'node:util';
import { StoreRefusedError } from '@lockstep/core';
import { expectEqual, expectThat } from '../kit/expect.js';
import { fieldOf, hookOf, type StoreCase, type StoreClaims, type StoreContext } from './context.js';

/** A row's properties that change from one value of the factory's to another, and the first of them alone. */
function changeOf(
  c: StoreContext,
  row: ReturnType<StoreContext['newRow']>,
  n: number,
): Record<string, unknown> {
  const field = hookOf(c, 'counter');
  return { [field]: fieldOf(row.value(n), field) };
}

/** Patches: some properties, the others untouched. */
export function patchCases(test: StoreCase, { requires, gives }: StoreClaims): void {
  const patch = (key: string, set: Record<string, unknown>) =>
    ({ kind: 'patch', key, set, above: 0 }) as const;

  test('returnsAsSent: what is said to come back as it was sent does', async (c) => {
    const [row, field] = [c.newRow(), hookOf(c, 'counter')];
    await row.putVersion(1);
    const before = await row.read();
    const set = { [field]: 7 };
    if (c.store.returnsAsSent?.(set as never) !== true) return;
    const outcome = await row.run({ kind: 'patch', key: row.key, set: set as never, above: 0 });
    const expected = { ...(before?.value as object), ...set };
    expectEqual(c.expectWritten(outcome, 'a patch').value as object, expected, 'the row after it');
  });

  test('patch: sets the properties that it names, leaves the others, and gives the row as stored', async (c) => {
    const [row, field] = [c.newRow(), hookOf(c, 'counter')];
    const before = await row.putVersion(5);
    const outcome = c.expectWritten(await row.run(patch(row.key, changeOf(c, row, 7))), 'a patch');
    const stored = await row.read();
    const sent = { ...(row.value(5) as object), [field]: 7 };
    expectThat(c.matches(outcome.value, sent), `a patch of ${field} gave ${inspect(outcome.value)}`);
    expectThat(
      c.matches(stored?.value, sent),
      `after a patch of ${field} the store holds ${inspect(stored)}`,
    );
    if (!requires('versioned')) return;
    expectThat(outcome.version > before, 'a patch must raise the version');
    expectEqual(stored?.version, outcome.version, "the row's version");
  });

  test('patch: of a missing row says so, and writes none', async (c) => {
    const row = c.newRow();
    expectEqual(await row.run(patch(row.key, changeOf(c, row, 1))), { kind: 'missing' }, 'a blind patch');
    if (requires('compareAndSet')) {
      const outcome = await row.run({ ...patch(row.key, changeOf(c, row, 1)), ifVersion: 2 });
      expectEqual(outcome, { kind: 'conflict', version: 0 }, 'a patch of a version of no row');
    }
    await row.expectRow(undefined);
  });

  test('patch: a property that is unset is as after a put without it', async (c) => {
    const [patched, put, field] = [c.newRow(), c.newRow(), hookOf(c, 'counter')];
    const { [field]: _, ...without } = put.value(3) as Record<string, unknown>;
    await put.putVersion(3);
    const [expected] = await c.write([{ kind: 'put', key: put.key, value: without, above: 0 }]);
    await patched.putVersion(4);
    const command = { kind: 'patch', key: patched.key, set: {}, unset: [field], above: 0 } as const;
    const outcome = await patched.run(command);
    expectEqual(outcome.kind, expected?.kind, 'the outcome');
    if (outcome.kind !== 'written' || expected?.kind !== 'written') return;
    expectEqual(fieldOf(outcome.value, field), fieldOf(expected.value, field), `the field ${field}`);
  });

  if (requires('compareAndSet')) {
    test('patch: with ifVersion only at that version', async (c) => {
      const row = c.newRow();
      const first = await row.putVersion(1);
      const second = await row.putVersion(2);
      const stale = await row.run({ ...patch(row.key, changeOf(c, row, 3)), ifVersion: first });
      expectEqual(stale, { kind: 'conflict', version: second }, 'a patch of an earlier version');
      await row.expectRow(2, second);
      const current = await row.run({ ...patch(row.key, changeOf(c, row, 3)), ifVersion: second });
      c.expectWritten(current, 'a patch of the current version');
      expectEqual(fieldOf((await row.read())?.value, hookOf(c, 'counter')), 3, 'the field after it');
    });
  }

  test('patch: many in one call, among other commands, are answered position by position', async (c) => {
    const field = hookOf(c, 'counter');
    const [one, gone, missing, other, fresh] = [c.newRow(), c.newRow(), c.newRow(), c.newRow(), c.newRow()];
    await one.putVersion(1);
    await gone.putVersion(2);
    await other.putVersion(3);
    const outcomes = await c.write([
      patch(one.key, { [field]: 11 }),
      { kind: 'delete', key: gone.key, above: 0 },
      patch(missing.key, { [field]: 12 }),
      patch(other.key, { [field]: 13 }),
      { kind: 'put', key: fresh.key, value: fresh.value(4), above: 0 },
    ]);
    const kinds = outcomes.map(({ kind }) => kind);
    expectEqual(kinds, ['written', 'written', 'missing', 'written', 'written'], 'the outcomes');
    expectEqual(fieldOf((await one.read())?.value, field), 11, 'the field of the first');
    expectEqual(fieldOf((await other.read())?.value, field), 13, 'the field of the fourth');
    await gone.expectRow(undefined);
    await missing.expectRow(undefined);
  });

  if (gives('refusedValue')) {
    test('patch: one that the store refuses fails alone, and changes nothing (G1)', async (c) => {
      const [bad, good, field] = [c.newRow(), c.newRow(), hookOf(c, 'counter')];
      const version = await bad.putVersion(1);
      await good.putVersion(2);
      const refused = { ...(hookOf(c, 'refusedValue')(bad.id) as Record<string, unknown>) };
      const own = bad.value(1) as Record<string, unknown>;
      const set = Object.fromEntries(Object.entries(refused).filter(([name, value]) => own[name] !== value));
      const [first, second] = await c.write([patch(bad.key, set), patch(good.key, { [field]: 5 })]);
      expectThat(
        first?.kind === 'failed' && first.error instanceof StoreRefusedError,
        `the refused patch must fail with StoreRefusedError, got ${inspect(first)}`,
      );
      c.expectWritten(second, 'the patch beside it');
      await bad.expectRow(1, version);
    });
  }

  if (requires('transactions')) {
    test('patch: inside a transaction, seen there and committed with it', async (c) => {
      const [row, field] = [c.newRow(), hookOf(c, 'counter')];
      await row.putVersion(1);
      await c.store.transactions?.transaction(
        async (tx) => {
          c.expectWritten(await row.run(patch(row.key, { [field]: 8 }), tx), 'a patch inside');
          expectEqual(fieldOf((await row.read(tx))?.value, field), 8, 'the field inside');
        },
        { ...c.call },
      );
      expectEqual(fieldOf((await row.read())?.value, field), 8, 'the field after the commit');
    });
  }
}
