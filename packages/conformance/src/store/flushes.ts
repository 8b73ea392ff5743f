import { inspect } from 'node:util';
import type { StoreOutcome, Version } from '@lockstep/core';
import { expectEqual, expectThat } from '../kit/expect.js';
import type { StoreCase, StoreClaims, TestRow } from './context.js';

/** Further ahead of any clock than a statement takes, in µs; even, so that `version + STEP + 1` is a buffer's. */
const STEP = 60_000_000;

function flush(
  row: TestRow<unknown, unknown>,
  version: Version,
  n: number | null,
): Promise<StoreOutcome<unknown>> {
  return row.run({ kind: 'flush', key: row.key, version, value: n === null ? null : row.value(n) });
}

function expectSuperseded(outcome: StoreOutcome<unknown>, version: Version, what: string): void {
  expectThat(outcome.kind === 'superseded', `${what}: must be superseded, got ${inspect(outcome)}`);
  expectEqual(outcome.version, version, `${what}: the version that is in its way`);
}

/** The fence of buffered writes, and the tombstones that it needs. */
export function flushCases(test: StoreCase, { requires }: StoreClaims): void {
  if (!requires('flush')) return;

  test('flush: writes a new row, and an existing one, with that very version', async (c) => {
    const [row, fresh] = [c.newRow(), c.newRow()];
    const version = (await row.putVersion(1)) + STEP + 1;
    expectEqual(c.expectWritten(await flush(row, version, 2), 'a flush').version, version, 'its version');
    await row.expectRow(2, version);
    expectEqual(c.expectWritten(await flush(fresh, version, 3), 'a flush').version, version, 'its version');
    await fresh.expectRow(3, version);
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
}
