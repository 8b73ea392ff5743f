import { inspect } from 'node:util';
import { InvalidIdError, jsonSerializer, LockstepError, StoreRefusedError } from '@lockstep/core';
import { expectEqual, expectRejection, expectThat } from '../kit/expect.js';
import { fieldOf, hookOf, type StoreCase, type StoreClaims } from './context.js';
import { patchCases } from './patches.js';

/** Keys, reads, puts, deletes, batches. */
export function rowCases(test: StoreCase, { requires, gives }: StoreClaims): void {
  test('keyOf: an id has one key, and two rows never share one', async (c) => {
    const rows = Array.from({ length: 50 }, () => c.newRow());
    for (const { id, key } of rows) {
      expectEqual(c.store.keyOf(id), key, 'the key of the same id, asked twice');
      expectThat(
        typeof key === 'string' && key.length > 0 && key.isWellFormed(),
        `not a key: ${inspect(key)}`,
      );
    }
    expectEqual(new Set(rows.map(({ key }) => key)).size, rows.length, 'the number of keys of 50 ids');
  });

  if (gives('sameRow')) {
    test('keyOf: ids that name one row have one key', async (c) => {
      for (const [one, other] of hookOf(c, 'sameRow')) {
        expectEqual(
          c.store.keyOf(one),
          c.store.keyOf(other),
          `the keys of ${inspect(one)} and ${inspect(other)}`,
        );
      }
    });
  }

  if (gives('badIds')) {
    test('keyOf: throws InvalidIdError for what is no id', async (c) => {
      for (const bad of hookOf(c, 'badIds')) {
        let thrown: unknown;
        try {
          c.store.keyOf(bad);
        } catch (error) {
          thrown = error;
        }
        expectThat(
          thrown instanceof InvalidIdError,
          `keyOf(${inspect(bad)}) must throw InvalidIdError, got ${inspect(thrown)}`,
        );
      }
    });
  }

  test('read: rows position by position, nothing where there is no row, repeated keys included', async (c) => {
    const [first, second, missing] = [c.newRow(), c.newRow(), c.newRow()];
    await first.putVersion(1);
    await second.putVersion(2);
    const keys = [second.key, missing.key, first.key, second.key];
    const rows = await c.store.read(keys, { ...c.call, primary: true });
    expectEqual(
      rows.map((row) => row?.key),
      [second.key, undefined, first.key, second.key],
      'the keys of the rows read',
    );
    expectEqual([...(await c.store.read([], { ...c.call, primary: true }))], [], 'a read of no keys');
    expectEqual([...(await c.write([]))], [], 'a write of no commands');
  });

  test('put: inserts, replaces as a whole, and gives the row as stored', async (c) => {
    const row = c.newRow();
    const inserted = await row.putVersion(1);
    await row.expectRow(1, inserted);
    const replaced = await row.putVersion(2);
    await row.expectRow(2, replaced);
  });

  test('carrier: what it packs comes back as the row that was read', async (c) => {
    const { carrier, serializer = jsonSerializer() } = c.store;
    const row = c.newRow();
    await row.putVersion(1);
    const { value } = (await row.read()) ?? {};
    const packed = serializer.serialize(carrier === undefined ? value : carrier.pack(value));
    const back = serializer.deserialize(packed);
    expectEqual(carrier === undefined ? back : carrier.unpack(back), value, 'the row that came back');
  });

  test('delete: removes the row; of a missing row it says so', async (c) => {
    const row = c.newRow();
    expectEqual(await row.delete(), { kind: 'missing' }, 'a delete of what never was');
    await row.putVersion(1);
    await row.deleteVersion();
    await row.expectRow(undefined);
    expectEqual(await row.delete(), { kind: 'missing' }, 'a second delete');
    await row.putVersion(2);
    await row.expectRow(2);
  });

  test('batch: many commands in one call are answered position by position', async (c) => {
    const rows = Array.from({ length: 60 }, () => c.newRow());
    const outcomes = await c.write(
      rows.map((row, n) => ({ kind: 'put', key: row.key, value: row.value(n), above: 0 })),
    );
    for (const [n, row] of rows.entries()) {
      const { value, version } = c.expectWritten(outcomes[n], `command ${n}`);
      expectThat(value !== null && c.matches(value, row.value(n)), `outcome ${n} holds ${inspect(value)}`);
      await row.expectRow(n, version);
    }
  });

  test('batch: puts and deletes of one call, of rows that are there and that are not', async (c) => {
    const [fresh, old, gone, missing] = [c.newRow(), c.newRow(), c.newRow(), c.newRow()];
    await old.putVersion(1);
    await gone.putVersion(2);
    const outcomes = await c.write([
      { kind: 'delete', key: gone.key, above: 0 },
      { kind: 'put', key: fresh.key, value: fresh.value(3), above: 0 },
      { kind: 'delete', key: missing.key, above: 0 },
      { kind: 'put', key: old.key, value: old.value(4), above: 0 },
    ]);
    expectEqual(
      outcomes.map(({ kind }) => kind),
      ['written', 'written', 'missing', 'written'],
      'the outcomes',
    );
    await gone.expectRow(undefined);
    await fresh.expectRow(3);
    await old.expectRow(4);
  });

  test('check: passes what a put takes, and changes nothing', async (c) => {
    const row = c.newRow();
    c.store.check?.(row.key, row.value(1) as never);
    await row.expectRow(undefined);
    c.expectWritten(await row.put(1), 'the put of what was checked');
  });

  if (gives('refusedValue')) {
    test('batch: a row that the store refuses fails alone, and changes nothing (G1)', async (c) => {
      const refusedValue = hookOf(c, 'refusedValue');
      const [before, bad, old, after] = [c.newRow(), c.newRow(), c.newRow(), c.newRow()];
      const version = await old.putVersion(9);
      const outcomes = await c.write([
        { kind: 'put', key: before.key, value: before.value(1), above: 0 },
        { kind: 'put', key: bad.key, value: refusedValue(bad.id), above: 0 },
        { kind: 'put', key: old.key, value: refusedValue(old.id), above: 0 },
        { kind: 'put', key: after.key, value: after.value(2), above: 0 },
      ]);
      for (const position of [1, 2]) {
        const outcome = outcomes[position];
        expectThat(
          outcome?.kind === 'failed' && outcome.error instanceof StoreRefusedError,
          `the refused row must fail with StoreRefusedError, got ${inspect(outcome)}`,
        );
      }
      c.expectWritten(outcomes[0], 'the row before the refused ones');
      c.expectWritten(outcomes[3], 'the row after them');
      await before.expectRow(1);
      await bad.expectRow(undefined);
      await old.expectRow(9, version);
      await after.expectRow(2);
    });
  }

  test('abort: a call whose signal has already aborted does not write', async (c) => {
    const row = c.newRow();
    const command = { kind: 'put', key: row.key, value: row.value(1), above: 0 } as const;
    const outcome = await c.store
      .write([command], { ...c.call, signal: AbortSignal.abort(new Error('not any more')) })
      .catch((error: unknown) => [{ kind: 'failed', error }] as const);
    expectEqual(outcome[0]?.kind, 'failed', 'the outcome of an aborted write');
    await row.expectRow(undefined);
  });

  if (gives('second')) {
    test('two bindings: what one writes the other reads, under the same key', async (c) => {
      const second = hookOf(c, 'second');
      const row = c.newRow();
      expectEqual(second.keyOf(row.id), row.key, "the other binding's key of the same id");
      const version = await row.putVersion(1);
      const [found] = await second.read([row.key], { ...c.call, primary: true });
      expectEqual(found?.version, version, 'the version that the other binding reads');
    });
  }

  test('close: may be called twice, and calls after it reject', async (c) => {
    const row = c.newRow();
    await c.store.close();
    await c.store.close();
    const failed = await expectRejection(
      c.store.read([row.key], { ...c.call, primary: true }),
      'read after close',
    );
    expectThat(
      failed instanceof LockstepError,
      `read after close must reject with a LockstepError, got ${failed}`,
    );
    await expectRejection(
      c.store.write([{ kind: 'delete', key: row.key, above: 0 }], c.call),
      'write after close',
    );
  });

  if (requires('patch')) patchCases(test, { requires, gives });

  if (requires('increment')) {
    test('increment: adds to the field and gives the row as stored', async (c) => {
      const [row, missing, field] = [c.newRow(), c.newRow(), hookOf(c, 'counter')];
      const before = await row.putVersion(5);
      const outcome = c.expectWritten(
        await row.run({ kind: 'increment', key: row.key, field, by: -3, above: 0 }),
        'an increment',
      );
      expectEqual(fieldOf(outcome.value, field), 2, `the field ${field} of the outcome`);
      if (requires('versioned')) expectThat(outcome.version > before, 'an increment must raise the version');
      expectEqual(fieldOf((await row.read())?.value, field), 2, `the field ${field} of the row read`);
      expectEqual(
        await missing.run({ kind: 'increment', key: missing.key, field, by: 1, above: 0 }),
        { kind: 'missing' },
        'an increment of a missing row',
      );
      await missing.expectRow(undefined);
    });

    test('increment: a sum tells what the field held after each of its terms, or is refused', async (c) => {
      const [row, field] = [c.newRow(), hookOf(c, 'counter')];
      await row.putVersion(1);
      if (c.store.capabilities.sums !== true) return;
      const sum = { kind: 'increment', key: row.key, field, by: '6', terms: [1, '2', 3n], above: 0 } as const;
      const outcome = await row.run(sum);
      const refused = outcome.kind === 'failed' && outcome.error instanceof StoreRefusedError;
      if (!refused) {
        const { steps, value } = c.expectWritten(outcome, 'a sum');
        expectEqual([...(steps ?? []), fieldOf(value, field)].map(Number), [2, 4, 7], 'the field on its way');
      }
      expectEqual(
        Number(fieldOf((await row.read())?.value, field)),
        refused ? 1 : 7,
        'the field of the row read',
      );
    });

    test('increment: many at once, alone and in batches, merge exactly', async (c) => {
      const [row, field] = [c.newRow(), hookOf(c, 'counter')];
      await row.putVersion(0);
      const calls = Array.from({ length: 30 }, () => {
        const other = c.newRow();
        return c.write([
          { kind: 'increment', key: row.key, field, by: 2, above: 0 },
          { kind: 'put', key: other.key, value: other.value(1), above: 0 },
        ]);
      });
      const outcomes = (await Promise.all(calls)).map(([outcome]) =>
        c.expectWritten(outcome, 'an increment'),
      );
      expectEqual(fieldOf((await row.read())?.value, field), 60, 'the sum of 30 increments by 2');
      if (requires('versioned')) {
        expectEqual(new Set(outcomes.map(({ version }) => version)).size, 30, 'the number of versions given');
      }
    });
  }
}
