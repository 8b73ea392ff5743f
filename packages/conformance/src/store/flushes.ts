import { inspect } from 'node:util';
import { type StoreCommand, type StoreOutcome, StoreRefusedError, type Version } from '@lockstep/core';
import { expectEqual, expectThat } from '../kit/expect.js';
import { fieldOf, hookOf, type StoreCase, type StoreClaims, type TestRow } from './context.js';

/** Further ahead of any clock than a statement takes, in µs; even, so that `version + STEP + 1` is a buffer's. */
const STEP = 60_000_000;

/** As many as a batch of the engine may hold. */
const MANY = 256;

/** How often a flush that gives up its row, since others hold it, is sent again before that counts. */
const MAX_BUSY = 20;

/** Sends a flush as the engine does: again where others held the row for too long. */
async function flush(
  row: TestRow<unknown, unknown>,
  version: Version,
  n: number | null,
): Promise<StoreOutcome<unknown>> {
  for (let busy = 0; ; busy += 1) {
    const value = n === null ? null : row.value(n);
    const outcome = await row.run({ kind: 'flush', key: row.key, version, value });
    const held = outcome.kind === 'failed' && outcome.error.code === 'LOCKSTEP_STORE_BUSY';
    if (!held || busy === MAX_BUSY) return outcome;
  }
}

function expectSuperseded(outcome: StoreOutcome<unknown>, version: Version, what: string): void {
  expectThat(outcome.kind === 'superseded', `${what}: must be superseded, got ${inspect(outcome)}`);
  expectEqual(outcome.version, version, `${what}: the version that is in its way`);
}

/** The fence of buffered writes, and the tombstones that it needs. */
export function flushCases(test: StoreCase, { requires, gives }: StoreClaims): void {
  if (!requires('flush')) return;

  test('flush: writes a new row, and an existing one, with that very version', async (c) => {
    const [row, fresh] = [c.newRow(), c.newRow()];
    const version = (await row.putVersion(1)) + STEP + 1;
    expectEqual(c.expectWritten(await flush(row, version, 2), 'a flush').version, version, 'its version');
    await row.expectRow(2, version);
    expectEqual(c.expectWritten(await flush(fresh, version, 3), 'a flush').version, version, 'its version');
    await fresh.expectRow(3, version);
  });

  test('flush: between its version and that of a sum is one that no row has', async (c) => {
    if (c.store.capabilities.sums !== true) return;
    const [row, field] = [c.newRow(), hookOf(c, 'counter')];
    const version = (await row.putVersion(1)) + STEP + 1;
    c.expectWritten(await flush(row, version, 2), 'a flush');
    const sum = { kind: 'increment', key: row.key, field, by: 2, terms: [1, 1], above: 0 } as const;
    const outcome = await row.run(sum);
    if (outcome.kind === 'failed' && outcome.error instanceof StoreRefusedError) return;
    const newer = c.expectWritten(outcome, 'a sum').version;
    expectThat(newer - 1 > version, `a sum after the flush ${version} must be 2 above it, got ${newer}`);
  });

  test('flush: repeated, late and lower ones refuse themselves (G3)', async (c) => {
    const row = c.newRow();
    const version = (await row.putVersion(1)) + STEP + 1;
    c.expectWritten(await flush(row, version, 2), 'a flush');
    expectSuperseded(await flush(row, version, 2), version, 'the same flush again');
    expectSuperseded(await flush(row, version - 2, 1), version, 'a lower flush');
    await row.expectRow(2, version);
    const newer = await row.putVersion(3);
    expectThat(
      newer > version && newer % 2 === 0,
      `a put after the flush ${version} must be above it, got ${newer}`,
    );
    expectSuperseded(await flush(row, version, 2), newer, 'the flush, late, after a put');
    await row.expectRow(3, newer);
  });

  test('flush: a tombstone refuses what is older than the deletion (G3)', async (c) => {
    const row = c.newRow();
    const written = await row.putVersion(1);
    const gone = await row.deleteVersion({ above: written + STEP });
    expectSuperseded(await flush(row, written + 1, 2), gone, 'a flush from before the deletion');
    await row.expectRow(undefined);
    const version = gone + STEP + 1;
    c.expectWritten(await flush(row, version, 3), 'a flush from after the deletion');
    await row.expectRow(3, version);
  });

  test('flush: a buffered deletion removes the row and leaves a tombstone, row or no row (G3)', async (c) => {
    const [row, never] = [c.newRow(), c.newRow()];
    const version = (await row.putVersion(1)) + STEP + 1;
    for (const target of [row, never]) {
      const outcome = c.expectWritten(await flush(target, version, null), 'the flush of a deletion');
      expectEqual([outcome.value, outcome.version], [null, version], 'its value and version');
      await target.expectRow(undefined);
      expectSuperseded(await flush(target, version, null), version, 'the flush of the deletion, again');
      expectSuperseded(await flush(target, version - 2, 2), version, 'a flush from before the deletion');
      await target.expectRow(undefined);
    }
  });

  test('version: a re-creation goes above the tombstone of its predecessor, ahead of the clock or not (G3)', async (c) => {
    const [row, flushed] = [c.newRow(), c.newRow()];
    const first = await row.putVersion(1);
    const gone = await row.deleteVersion({ above: first + STEP });
    const again = await row.putVersion(2);
    expectThat(again > gone, `a put after the deletion ${gone} must be above it, got ${again}`);
    const version = again + STEP + 1;
    c.expectWritten(await flush(flushed, version, null), 'the flush of a deletion');
    const next = await flushed.putVersion(1);
    expectThat(
      next > version && next % 2 === 0,
      `a put after ${version} must be even and above it, got ${next}`,
    );
  });

  test('race: flushes in any order, repeated, beside puts, end at the highest version (G3)', async (c) => {
    for (let round = 0; round < 4; round += 1) {
      const row = c.newRow();
      const base = (await row.putVersion(0)) + STEP + 1;
      const order = [5, 2, 7, 7, 1, 6, 3, 5, 4];
      const flushes = order.map(async (n) => ({ n, outcome: await flush(row, base + 2 * n, n) }));
      const puts = round % 2 === 0 ? [] : [row.putVersion(100), row.putVersion(101)];
      const done = await Promise.all(flushes);
      const versions = await Promise.all(puts);
      const won = done.flatMap(({ n, outcome }) =>
        outcome.kind === 'written' ? [{ n, version: outcome.version }] : [],
      );
      const all = [...won, ...versions.map((version, index) => ({ n: 100 + index, version }))];
      const last = all.reduce((a, b) => (a.version > b.version ? a : b));
      expectThat(
        last.version >= base + 14,
        `the highest version must be at least ${base + 14}, is ${last.version}`,
      );
      await row.expectRow(last.n, last.version);
    }
  });

  test('race: flushes of a row that is not there, beside puts of it, end at the highest version (G3)', async (c) => {
    for (let round = 0; round < 12; round += 1) {
      const row = c.newRow();
      const base = (await c.newRow().putVersion(0)) + STEP + 1;
      const flushes = [3, 1, 2, 3].map(async (n) => {
        const outcome = await flush(row, base + 2 * n, n);
        expectThat(
          outcome.kind === 'written' || outcome.kind === 'superseded',
          `a flush beside inserts must be written or superseded, got ${inspect(outcome)}`,
        );
        return { n, version: outcome.kind === 'written' ? outcome.version : 0 };
      });
      const puts = [100, 101].map(async (n) => ({ n, version: await row.putVersion(n) }));
      const done = await Promise.all([...flushes, ...puts]);
      const last = done.reduce((a, b) => (a.version > b.version ? a : b));
      expectThat(
        last.version >= base + 6,
        `the highest version must be at least ${base + 6}, is ${last.version}`,
      );
      await row.expectRow(last.n, last.version);
    }
  });

  test('batch: flushes of one call are each on their own', async (c) => {
    const rows = Array.from({ length: 8 }, () => c.newRow());
    const versions = await Promise.all(rows.map((row) => row.putVersion(0)));
    const outcomes = await c.write(
      rows.map((row, n) => ({
        kind: 'flush',
        key: row.key,
        version: (versions[n] ?? 0) + (n % 2 === 0 ? STEP + 1 : -1),
        value: n % 4 === 0 ? null : row.value(n),
      })),
    );
    for (const [n, row] of rows.entries()) {
      expectEqual(outcomes[n]?.kind, n % 2 === 0 ? 'written' : 'superseded', `flush ${n}`);
      await row.expectRow(n % 4 === 0 ? undefined : n % 2 === 0 ? n : 0);
    }
  });
  test('batch: a repeated flush among new ones writes nothing, and is told its own version (G3)', async (c) => {
    const [first, again, gone, fresh] = [c.newRow(), c.newRow(), c.newRow(), c.newRow()];
    const version = (await first.putVersion(0)) + STEP + 1;
    await again.putVersion(0);
    const command = (row: TestRow<unknown, unknown>, n: number | null): StoreCommand<unknown> => ({
      kind: 'flush',
      key: row.key,
      version,
      value: n === null ? null : row.value(n),
    });
    await c.write([command(again, 1), command(gone, null)]);
    const outcomes = await c.write([
      command(first, 1),
      command(again, 1),
      command(gone, null),
      command(fresh, 1),
    ]);
    for (const [at, outcome] of outcomes.entries()) {
      const isNew = at === 0 || at === 3;
      // A store that hears only how many rows a batch matched may take a repetition for written.
      expectThat(
        outcome.kind === 'written' || (outcome.kind === 'superseded' && !isNew),
        `flush ${at}: must be ${isNew ? 'written' : 'superseded'}, got ${inspect(outcome)}`,
      );
      expectEqual(outcome.version, version, `flush ${at}: the version`);
    }
    for (const row of [first, again, fresh]) await row.expectRow(1, version);
    await gone.expectRow(undefined);
  });

  test('batch: flushes travel beside puts, deletes and increments, each as it is alone', async (c) => {
    const [flushed, late, removed, put, gone] = [c.newRow(), c.newRow(), c.newRow(), c.newRow(), c.newRow()];
    const counted = requires('increment') ? c.newRow() : undefined;
    for (const row of [flushed, late, removed, gone, counted]) await row?.putVersion(10);
    const version = (await c.newRow().putVersion(0)) + STEP + 1;
    const stands = await late.putVersion(11, { above: version + STEP });
    const commands: StoreCommand<unknown>[] = [
      { kind: 'put', key: put.key, value: put.value(1), above: 0 },
      { kind: 'flush', key: flushed.key, version, value: flushed.value(2) },
      { kind: 'delete', key: gone.key, above: 0 },
      { kind: 'flush', key: removed.key, version, value: null },
      { kind: 'flush', key: late.key, version, value: late.value(3) },
    ];
    if (counted !== undefined) {
      commands.push({ kind: 'increment', key: counted.key, field: hookOf(c, 'counter'), by: 5, above: 0 });
    }
    const outcomes = await c.write(commands);
    const [putDone, flushDone, goneDone, removedDone, lateDone, countedDone] = outcomes;
    const ordinary = c.expectWritten(putDone, 'the put').version;
    expectThat(
      ordinary < version,
      `a put must not take the version of a flush beside it, ${version}, got ${ordinary}`,
    );
    expectEqual(c.expectWritten(flushDone, 'the flush').version, version, "the flush's version");
    c.expectWritten(goneDone, 'the delete');
    expectEqual(c.expectWritten(removedDone, 'the flush of a deletion').version, version, 'its version');
    expectSuperseded(lateDone as StoreOutcome<unknown>, stands, 'the flush below its row');
    await put.expectRow(1, ordinary);
    await flushed.expectRow(2, version);
    await late.expectRow(11, stands);
    await removed.expectRow(undefined);
    await gone.expectRow(undefined);
    if (counted === undefined) return;
    const sum = c.expectWritten(countedDone, 'the increment').version;
    const row = await counted.read();
    expectEqual(fieldOf(row?.value, hookOf(c, 'counter')), 15, 'the sum');
    expectEqual(row?.version, sum, "the sum's version");
  });

  test(`batch: ${MANY} flushes of one call, of new rows, old ones and deletions, all arrive`, async (c) => {
    const rows = Array.from({ length: MANY }, () => c.newRow());
    const old = rows.filter((_, n) => n % 2 === 0);
    await c.write(old.map(({ key, value }) => ({ kind: 'put', key, value: value(0), above: 0 })));
    const base = (await c.newRow().putVersion(0)) + STEP + 1;
    const deletes = (n: number): boolean => n % 8 >= 6;
    const outcomes = await c.write(
      rows.map(({ key, value }, n) => ({
        kind: 'flush',
        key,
        version: base + 2 * n,
        value: deletes(n) ? null : value(n + 1),
      })),
    );
    const found = await c.store.read(
      rows.map(({ key }) => key),
      { ...c.call, primary: true },
    );
    for (const [n, outcome] of outcomes.entries()) {
      const { version } = c.expectWritten(outcome, `flush ${n}`);
      expectEqual(version, base + 2 * n, `the version of flush ${n}`);
      expectEqual(found[n]?.version, deletes(n) ? undefined : version, `the version of row ${n}`);
      expectThat(
        deletes(n) || c.matches(found[n]?.value, rows[n]?.value(n + 1)),
        `row ${n} must hold what was flushed, holds ${inspect(found[n]?.value)}`,
      );
    }
  });

  if (gives('refusedValue')) {
    test('batch: a flush that the store refuses fails alone, and changes nothing (G1)', async (c) => {
      const refusedValue = hookOf(c, 'refusedValue');
      const [newBad, oldBad, oldGood] = [c.newRow(), c.newRow(), c.newRow()];
      const [newGood, removed, put] = [c.newRow(), c.newRow(), c.newRow()];
      const stands = await oldBad.putVersion(9);
      for (const row of [oldGood, removed]) await row.putVersion(9);
      const version = (await c.newRow().putVersion(0)) + STEP + 1;
      const outcomes = await c.write([
        { kind: 'flush', key: newBad.key, version, value: refusedValue(newBad.id) },
        { kind: 'flush', key: oldGood.key, version, value: oldGood.value(1) },
        { kind: 'flush', key: oldBad.key, version, value: refusedValue(oldBad.id) },
        { kind: 'flush', key: newGood.key, version, value: newGood.value(2) },
        { kind: 'flush', key: removed.key, version, value: null },
        { kind: 'put', key: put.key, value: put.value(3), above: 0 },
      ]);
      for (const at of [0, 2]) {
        const outcome = outcomes[at];
        expectThat(
          outcome?.kind === 'failed' && outcome.error instanceof StoreRefusedError,
          `the refused flush must fail with StoreRefusedError, got ${inspect(outcome)}`,
        );
      }
      for (const at of [1, 3, 4, 5]) c.expectWritten(outcomes[at], `the command beside it, ${at}`);
      await newBad.expectRow(undefined);
      await oldBad.expectRow(9, stands);
      await oldGood.expectRow(1, version);
      await newGood.expectRow(2, version);
      await removed.expectRow(undefined);
      await put.expectRow(3);
      // A refused flush leaves nothing behind that could stand in the way of the next.
      for (const row of [newBad, oldBad]) {
        c.expectWritten(await flush(row, version, 4), 'a flush of that version which is not refused');
        await row.expectRow(4, version);
      }
    });
  }
}
