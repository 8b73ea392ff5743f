import { describe, expect, test } from 'vitest';
import { FreshnessChecker } from '../src/freshness/checker.js';
import { FactBuffer, type FactKind, factsOf, UNKNOWN_GROUP } from '../src/freshness/facts.js';
import { eitherDown, Outages } from '../src/freshness/outages.js';

const LAG = 1_000;
const RECOVERY = 500;

function checker(capacity = 100) {
  const seen: { kind: FactKind; version: number }[] = [];
  const one = new FreshnessChecker({
    products: 10,
    lagBoundMs: LAG,
    recoveryMs: RECOVERY,
    capacity,
    onSeen: (kind, _index, version) => seen.push({ kind, version }),
  });
  return {
    one,
    seen,
    fact(kind: FactKind, version: number, atMs: number, index = 0) {
      one.fact({ kind, index, version, atMs });
    },
    /** A read that began and ended at once. */
    read(version: number, startMs: number, absent = false, index = 0) {
      one.end(one.begin(index, startMs), index, version, absent, startMs);
    },
    verdicts() {
      one.judge(Number.MAX_VALUE);
      return one.verdicts;
    },
  };
}

describe('a binding write (G2)', () => {
  test('a later read of an older version is stale', () => {
    const { one, fact, read, verdicts } = checker();
    fact('put', 20, 100);
    read(10, 101);
    expect(verdicts()).toMatchObject({ checked: 1, stale: 1 });
    expect(one.samples).toEqual([
      { id: 1, version: 10, expected: 20, startMs: 101, late: false, expectedMs: 100 },
    ]);
  });

  test('its own version and newer ones are fresh', () => {
    const { fact, read, verdicts } = checker();
    fact('put', 20, 100);
    read(20, 101);
    read(30, 101);
    expect(verdicts()).toMatchObject({ checked: 2, stale: 0, lagging: 0 });
  });

  test('a read that began before the acknowledgement may return the older version, however late it ends', () => {
    const { one, fact, verdicts } = checker();
    const ticket = one.begin(0, 99);
    fact('put', 20, 100);
    one.end(ticket, 0, 10, false, 500);
    expect(verdicts()).toMatchObject({ checked: 1, stale: 0 });
  });

  test('it binds reads of its own product only', () => {
    const { fact, read, verdicts } = checker();
    fact('put', 20, 100, 1);
    read(10, 200, false, 2);
    expect(verdicts().stale).toBe(0);
  });

  test('facts that arrive in any order are judged alike', () => {
    const { fact, read, verdicts } = checker();
    read(10, 150);
    read(20, 250);
    fact('put', 30, 200);
    fact('put', 20, 100);
    expect(verdicts()).toMatchObject({ checked: 2, stale: 2 });
  });

  test('an unfinished read holds up those that began after it, and is judged by what it began after', () => {
    const { one, fact, read } = checker();
    const slow = one.begin(0, 100);
    fact('put', 20, 150);
    read(20, 200);
    one.judge(1_000);
    expect(one.verdicts.checked).toBe(0);
    expect(one.waiting).toBe(2);
    one.end(slow, 0, 10, false, 1_000);
    one.judge(1_100);
    expect(one.verdicts).toMatchObject({ checked: 2, stale: 0 });
    read(10, 1_050);
    one.judge(1_100);
    expect(one.verdicts).toMatchObject({ checked: 3, stale: 1 });
  });

  test('a read is not judged before the horizon has passed it', () => {
    const { one, read, fact } = checker();
    read(10, 300);
    one.judge(300);
    expect(one.verdicts.checked).toBe(0);
    fact('put', 20, 200);
    one.judge(301);
    expect(one.verdicts).toMatchObject({ checked: 1, stale: 1 });
  });
});

describe('a late write (G4, G6)', () => {
  test('an older read lags within the bound and is stale beyond it', () => {
    const { fact, read, verdicts } = checker();
    fact('late-put', 20, 100);
    read(10, 101);
    read(10, 100 + LAG);
    read(10, 101 + LAG);
    expect(verdicts()).toMatchObject({ checked: 3, lagging: 2, stale: 1 });
  });

  test('the time in which the cache was away does not count, nor the time to recover', () => {
    const { one, fact, read, verdicts } = checker();
    fact('late-put', 20, 1_000);
    one.outages([{ fromMs: 1_400, toMs: 5_000, restarted: false }]);
    read(10, 5_000 + RECOVERY + 600);
    read(10, 5_000 + RECOVERY + 601);
    expect(verdicts()).toMatchObject({ lagging: 1, stale: 1 });
  });

  test('an outage that lasts leaves it open', () => {
    const { one, fact, read } = checker();
    fact('late-put', 20, 1_000);
    one.outages([{ fromMs: 1_100, toMs: null, restarted: false }]);
    read(10, 50_000);
    one.judge(60_000);
    expect(one.verdicts).toMatchObject({ lagging: 1, stale: 0 });
    one.outages([{ fromMs: 1_100, toMs: 60_000, restarted: false }]);
    read(10, 70_000);
    one.judge(80_000);
    expect(one.verdicts).toMatchObject({ lagging: 1, stale: 1 });
  });

  test('a version that a reader saw binds every reader after the lag, whoever wrote it', () => {
    const { seen, read, verdicts } = checker();
    read(20, 100);
    read(20, 110);
    read(10, 101 + LAG);
    expect(verdicts()).toMatchObject({ checked: 3, stale: 1 });
    expect(seen).toEqual([{ kind: 'late-put', version: 20 }]);
  });
});

describe('a cache that came back without its last writes', () => {
  test('is allowed the lag and the recovery, and no more', () => {
    const { one, fact, read, verdicts } = checker();
    fact('put', 20, 900);
    one.outages([{ fromMs: 1_000, toMs: 2_000, restarted: true }]);
    read(10, 2_000 + LAG + RECOVERY);
    read(10, 2_001 + LAG + RECOVERY);
    expect(verdicts()).toMatchObject({ lagging: 1, stale: 1 });
  });

  test('one that only froze has lost nothing', () => {
    const { one, fact, read, verdicts } = checker();
    fact('put', 20, 900);
    one.outages([{ fromMs: 1_000, toMs: 2_000, restarted: false }]);
    read(10, 2_001);
    expect(verdicts().stale).toBe(1);
  });
});

describe('a write of unknown outcome, of which no acknowledgement tells', () => {
  test('may be there or not, until a reader has seen it', () => {
    const { fact, read, verdicts } = checker();
    fact('put', 20, 100);
    read(20, 300);
    read(30, 400);
    read(20, 410);
    expect(verdicts()).toMatchObject({ checked: 3, stale: 0, lagging: 1 });
  });

  test('may be a deletion: an absence is not judged until it is known to have failed', () => {
    const { fact, read, verdicts } = checker();
    fact('put', 20, 100);
    fact('delete-begun', 0, 150);
    read(0, 300, true);
    expect(verdicts()).toMatchObject({ unjudged: 1, stale: 0 });
    fact('delete-ended', 0, 350);
    read(0, 400, true);
    expect(verdicts()).toMatchObject({ unjudged: 1, stale: 1 });
  });
});

describe('absent products', () => {
  test('an absence without a version is fresh after the delete and stale after a newer put', () => {
    const { fact, read, verdicts } = checker();
    fact('put', 10, 100);
    fact('delete', 20, 200);
    read(0, 300, true);
    fact('put', 30, 400);
    read(0, 500, true);
    expect(verdicts()).toMatchObject({ checked: 2, stale: 1 });
  });

  test('an old row after its delete is stale', () => {
    const { fact, read, verdicts } = checker();
    fact('delete', 20, 200);
    read(10, 300);
    expect(verdicts().stale).toBe(1);
  });

  test('a delete under way, or one whose process was killed, may explain an absence', () => {
    const { fact, read, verdicts } = checker();
    fact('put', 10, 100);
    fact('delete-begun', 0, 150);
    read(0, 300, true);
    expect(verdicts()).toMatchObject({ checked: 1, stale: 0, unjudged: 1 });
    fact('delete-ended', 0, 350);
    read(0, 400, true);
    expect(verdicts()).toMatchObject({ checked: 2, stale: 1 });
  });
});

describe('bounds', () => {
  test('a full log lets reads pass without a verdict, and counts them', () => {
    const { read, verdicts } = checker(2);
    read(1, 1);
    read(1, 2);
    read(1, 3);
    expect(verdicts()).toMatchObject({ checked: 2, unjudged: 1 });
    read(1, 4);
    expect(verdicts().checked).toBe(3);
  });

  test('a failed read has no verdict', () => {
    const { one, verdicts } = checker();
    one.cancel(one.begin(0, 1));
    expect(verdicts()).toMatchObject({ checked: 0, unjudged: 0 });
  });
});

test('outages of two servers that meet are one, and the next is its own', () => {
  const cache = [
    { fromMs: 10, toMs: 20, restarted: false },
    { fromMs: 50, toMs: 60, restarted: true },
  ];
  const store = [
    { fromMs: 15, toMs: 30, restarted: false },
    { fromMs: 52, toMs: 55, restarted: false },
    { fromMs: 90, toMs: null, restarted: false },
  ];
  expect(eitherDown(cache, store)).toEqual([
    { fromMs: 10, toMs: 30, restarted: false },
    { fromMs: 50, toMs: 60, restarted: true },
    { fromMs: 90, toMs: null, restarted: false },
  ]);
  expect(eitherDown([{ fromMs: 1, toMs: null, restarted: false }], cache)).toEqual([
    { fromMs: 1, toMs: null, restarted: true },
  ]);
});

test('due times add up over several outages', () => {
  const outages = new Outages({ lagBoundMs: 100, recoveryMs: 10 });
  outages.set([
    { fromMs: 50, toMs: 90, restarted: false },
    { fromMs: 120, toMs: 200, restarted: false },
    { fromMs: 1_000, toMs: 1_100, restarted: false },
  ]);
  // 50 reachable before the first, 20 (100 to 120) between the two, 30 after the second (from 210 on).
  expect(outages.dueMs(0)).toBe(240);
  expect(outages.dueMs(60)).toBe(290);
  expect(outages.dueMs(300)).toBe(400);
});

test('facts survive the way to another process', () => {
  const buffer = new FactBuffer();
  buffer.add('put', 3, 1_700_000_000_000_002, 12.5, { group: 5, rank: 9 });
  buffer.add('late-delete', 4, 8, 13);
  expect([...factsOf(buffer.take())]).toEqual([
    { kind: 'put', index: 3, version: 1_700_000_000_000_002, atMs: 12.5, group: 5, rank: 9 },
    { kind: 'late-delete', index: 4, version: 8, atMs: 13, group: UNKNOWN_GROUP, rank: 0 },
  ]);
  expect(buffer.take()).toHaveLength(0);
});
