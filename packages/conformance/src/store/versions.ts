import { inspect } from 'node:util';
import type { StorePut, Version } from '@lockstep/core';
import { expectEqual, expectThat } from '../kit/expect.js';
import type { StoreCase, StoreClaims, StoreContext, TestRow } from './context.js';

/** Further ahead of any clock than a statement takes, in µs. */
const AHEAD = 60_000_000;

function expectAbove(version: Version, bound: Version, what: string): void {
  expectThat(version > bound, `${what}: its version ${version} must be above ${bound}`);
  expectEqual(version % 2, 0, `${what}: the lowest bit of its version ${version}, even being the store's`);
}

/** Sets of commands that write the same row at once, each time with what became of the row. */
async function raceOn(c: StoreContext, withDeletes: boolean): Promise<void> {
  for (let round = 0; round < 5; round += 1) {
    const row = c.newRow();
    if (round % 2 === 0) await row.putVersion(999);
    const bindings = [c.store, c.underTest.second ?? c.store];
    const writes = Array.from({ length: 16 }, async (_, n) => {
      const removes = withDeletes && n % 3 === 0;
      const [outcome] = await (bindings[n % 2] ?? c.store).write(
        [
          removes
            ? { kind: 'delete', key: row.key, above: 0 }
            : { kind: 'put', key: row.key, value: row.value(n), above: 0 },
        ],
        c.call,
      );
      if (removes && outcome?.kind === 'missing') return undefined;
      return { n: removes ? undefined : n, version: c.expectWritten(outcome, 'a concurrent write').version };
    });
    const done = (await Promise.all(writes)).filter((write) => write !== undefined);
    const versions = done.map(({ version }) => version);
    expectEqual(
      new Set(versions).size,
      versions.length,
      `the number of different versions of ${inspect(versions)}`,
    );
    const last = done.reduce((a, b) => (a.version > b.version ? a : b));
    await row.expectRow(last.n, last.n === undefined ? undefined : last.version);
  }
}

/** Versions, compare-and-set, restamp. */
export function versionCases(test: StoreCase, { requires }: StoreClaims): void {
  if (requires('versioned')) {
    test('version: every write has an even version above the last one, deletions and re-creations included', async (c) => {
      const row = c.newRow();
      let last = 0;
      for (let round = 0; round < 4; round += 1) {
        for (const n of [1, 2]) {
          const version = await row.putVersion(n);
          expectAbove(version, last, 'a put');
          last = version;
        }
        const version = await row.deleteVersion();
        expectAbove(version, last, 'a delete');
        last = version;
      }
    });

    test('version: an insert, an update and a delete go above what the reservation saw', async (c) => {
      const row = c.newRow();
      // Odd, as the version of a buffered write that the reservation saw would be.
      let bound = (await c.newRow().putVersion(1)) + AHEAD + 1;
      for (const [what, write] of [
        ['an insert', (above: Version) => row.putVersion(1, { above })],
        ['an update', (above: Version) => row.putVersion(2, { above })],
        ['a delete', (above: Version) => row.deleteVersion({ above })],
        ['a re-creation', (above: Version) => row.putVersion(3, { above })],
      ] as const) {
        expectAbove(await write(bound), bound, what);
        bound += AHEAD;
      }
      await row.expectRow(3);
    });

    test('version: an update goes above a row that is ahead of the clock', async (c) => {
      const row = c.newRow();
      const ahead = await row.putVersion(1, { above: (await row.putVersion(0)) + AHEAD });
      const next = await row.putVersion(2);
      expectAbove(next, ahead, 'an update of a row that is ahead');
      expectAbove(await row.deleteVersion(), next, 'its delete');
    });

    test('version: in one batch each row has its own bound', async (c) => {
      const rows = Array.from({ length: 10 }, () => c.newRow());
      const base = (await c.newRow().putVersion(1)) + AHEAD;
      const outcomes = await c.write(
        rows.map((row, n) => ({ kind: 'put', key: row.key, value: row.value(n), above: base + n * AHEAD })),
      );
      for (const [n, outcome] of outcomes.entries()) {
        const { version } = c.expectWritten(outcome, `row ${n}`);
        expectAbove(version, base + n * AHEAD, `row ${n}`);
        expectThat(
          version < base + n * AHEAD + AHEAD / 2,
          `row ${n} must not take another row's bound, got ${version}`,
        );
      }
    });

    test('version: a put and a delete are stamped ahead of the clock where they ask for it', async (c) => {
      const aheadMs = (3 * AHEAD) / 1_000;
      const least = (await c.newRow().putVersion(1)) + 3 * AHEAD - 1;
      const [fresh, old, inserted, replaced] = [c.newRow(), c.newRow(), c.newRow(), c.newRow()];
      const [deleted, high, ordinary] = [c.newRow(), c.newRow(), c.newRow()];
      for (const row of [old, deleted]) await row.putVersion(1);
      const at = await replaced.putVersion(1);
      const bound = least + 3 * AHEAD;
      const guarded = requires('compareAndSet');
      const put = (row: TestRow<unknown, unknown>, above = 0): StorePut<unknown> => ({
        kind: 'put',
        key: row.key,
        value: row.value(2),
        above,
        aheadMs,
      });
      const { aheadMs: _, ...plain } = put(ordinary);
      const outcomes = await c.write([
        put(fresh),
        put(old),
        { ...put(inserted), ...(guarded ? { ifVersion: null } : {}) },
        { ...put(replaced), ...(guarded ? { ifVersion: at } : {}) },
        { kind: 'delete', key: deleted.key, above: 0, aheadMs },
        put(high, bound),
        plain,
      ]);
      const versions = outcomes.map((outcome, n) => c.expectWritten(outcome, `write ${n}`).version);
      const last = versions.pop() ?? 0;
      expectAbove(last, 0, 'a put that does not ask for it');
      expectThat(last < least, `a put that does not ask for it must not be ahead, got ${last}`);
      for (const [n, version] of versions.entries()) expectAbove(version, least, `write ${n}`);
      expectAbove(versions[5] ?? 0, bound, 'a put with a bound that is further ahead');
      for (const [n, row] of [fresh, old, inserted, replaced, deleted, high].entries()) {
        expectAbove(await row.putVersion(3), versions[n] ?? 0, `the next put after write ${n}`);
      }
    });

    test('race: of writers on one row the highest version is the one that stays', (c) => raceOn(c, false));

    test('race: of writers and deleters of one row the highest version is the one that stays', (c) =>
      raceOn(c, true));
  }

  if (requires('compareAndSet')) {
    test('compare-and-set: a matching version writes', async (c) => {
      const row = c.newRow();
      const first = await row.putVersion(1, { ifVersion: null });
      const second = await row.putVersion(2, { ifVersion: first });
      await row.expectRow(2, second);
      const outcome = await row.delete({ ifVersion: second });
      c.expectWritten(outcome, 'a delete at the right version');
      await row.expectRow(undefined);
      await row.putVersion(3, { ifVersion: null });
    });

    test('compare-and-set: any other version writes nothing and is told the row’s', async (c) => {
      const [row, missing] = [c.newRow(), c.newRow()];
      const old = await row.putVersion(1);
      const version = await row.putVersion(2);
      for (const [what, outcome] of [
        ['a put at an old version', await row.put(3, { ifVersion: old })],
        ['a put at a version to come', await row.put(3, { ifVersion: version + 2 })],
        ['a put of a row that must not be there', await row.put(3, { ifVersion: null })],
        ['a delete at an old version', await row.delete({ ifVersion: old })],
      ] as const) {
        expectThat(outcome.kind === 'conflict', `${what}: must conflict, got ${inspect(outcome)}`);
        expectThat(
          outcome.version === version || outcome.version === 0,
          `${what}: the conflict's version must be ${version} (or 0), got ${outcome.version}`,
        );
      }
      await row.expectRow(2, version);
      expectEqual(
        await missing.put(1, { ifVersion: version }),
        { kind: 'conflict', version: 0 },
        'a put of a missing row at a version',
      );
      await missing.expectRow(undefined);
    });

    test('compare-and-set: in a batch a conflict fails alone', async (c) => {
      const [fresh, taken, other] = [c.newRow(), c.newRow(), c.newRow()];
      const version = await taken.putVersion(1);
      const outcomes = await c.write([
        { kind: 'put', key: fresh.key, value: fresh.value(1), above: 0, ifVersion: null },
        { kind: 'put', key: taken.key, value: taken.value(2), above: 0, ifVersion: null },
        { kind: 'put', key: other.key, value: other.value(1), above: 0 },
      ]);
      expectEqual(
        outcomes.map(({ kind }) => kind),
        ['written', 'conflict', 'written'],
        'the outcomes',
      );
      await taken.expectRow(1, version);
    });

    test('race: of many compare-and-sets at one version exactly one wins', async (c) => {
      const [row, fresh] = [c.newRow(), c.newRow()];
      const version = await row.putVersion(100);
      for (const [target, ifVersion] of [
        [row, version],
        [fresh, null],
      ] as const) {
        const outcomes = await Promise.all(
          Array.from({ length: 12 }, (_, n) => target.put(n, { ifVersion })),
        );
        const winners = outcomes.flatMap((outcome, n) => (outcome.kind === 'written' ? [n] : []));
        expectEqual(winners.length, 1, 'the number of winners');
        expectEqual(outcomes.filter(({ kind }) => kind === 'conflict').length, 11, 'the number of conflicts');
        await target.expectRow(winners[0]);
      }
    });
  }

  if (requires('restamp')) {
    test('restamp: gives an unchanged row a version above the floor', async (c) => {
      const row = c.newRow();
      const version = await row.putVersion(7);
      const above = version + AHEAD;
      const outcome = c.expectWritten(
        await row.run({ kind: 'restamp', key: row.key, above, ifVersion: version }),
        'a restamp',
      );
      expectAbove(outcome.version, above, 'a restamp');
      expectThat(
        outcome.value !== null && c.matches(outcome.value, row.value(7)),
        'a restamp must keep the value',
      );
      await row.expectRow(7, outcome.version);
    });

    test('restamp: a row that changed meanwhile, or went, is left alone', async (c) => {
      const [row, missing] = [c.newRow(), c.newRow()];
      const old = await row.putVersion(1);
      const version = await row.putVersion(2);
      const outcome = await row.run({
        kind: 'restamp',
        key: row.key,
        above: version + AHEAD,
        ifVersion: old,
      });
      expectEqual(outcome.kind, 'conflict', 'a restamp at an old version');
      await row.expectRow(2, version);
      expectEqual(
        await missing.run({ kind: 'restamp', key: missing.key, above: 2, ifVersion: version }),
        { kind: 'missing' },
        'a restamp of a missing row',
      );
    });
  }
}
