import { expect, test } from 'vitest';
import type { Fact, FactKind } from '../src/freshness/facts.js';
import { type Lacking, ListChecker, type ListRead } from '../src/freshness/lists.js';

const [LAMPS, BOWLS] = [0, 1];

/** A checker whose store says what it is told to. */
function listChecker(isStillSo = true) {
  const asked: Lacking[] = [];
  const checker = new ListChecker({
    lagBoundMs: 1_000,
    recoveryMs: 2_000,
    isStillSo: async (lacking) => {
      asked.push(lacking);
      return isStillSo;
    },
  });
  const fact = (version: number, atMs: number, group: number, more: Partial<Fact> = {}): void =>
    checker.fact({ kind: 'put' as FactKind, index: 0, version, atMs, group, rank: 10, ...more });
  /** What is found of one list, `[index, version, rank]` each. */
  const found = async (startMs: number, group: number, shown: number[][], limit = Infinity) => {
    const ticket = checker.begin(startMs);
    const members = shown.map(([index = 0, version = 0, rank = 10]) => ({ index, version, rank }));
    if (ticket !== undefined) ticket.read = { group, members, last: members[limit - 1] } satisfies ListRead;
    const before = checker.verdicts.stale;
    checker.judge(startMs + 1);
    await checker.settled();
    return checker.verdicts.stale - before;
  };
  return { asked, checker, fact, found };
}

test('a list that lacks the row that entered is stale, once the write was acknowledged', async () => {
  const { fact, found } = listChecker();
  fact(20, 100, LAMPS);
  expect(await found(100, LAMPS, [])).toBe(0);
  expect(await found(101, LAMPS, [])).toBe(1);
  expect(await found(102, LAMPS, [[0, 20]])).toBe(0);
});

test('so is one that has the row that left, and one that shows a row as it was', async () => {
  const { fact, found } = listChecker();
  fact(20, 100, LAMPS);
  fact(30, 200, BOWLS);
  expect(await found(199, LAMPS, [[0, 20]])).toBe(0);
  expect(await found(201, LAMPS, [[0, 20]])).toBe(1);
  expect(await found(202, LAMPS, [])).toBe(0);
  fact(40, 300, BOWLS);
  expect(await found(301, BOWLS, [[0, 30]])).toBe(1);
  fact(50, 400, -1, { kind: 'delete' });
  expect(await found(401, BOWLS, [[0, 40]])).toBe(1);
});

test('to a list that the row had left before by a late write nothing is promised', async () => {
  const { fact, found } = listChecker();
  fact(20, 100, LAMPS);
  fact(30, 190, BOWLS, { kind: 'late-put' });
  fact(40, 200, BOWLS);
  expect(await found(201, LAMPS, [[0, 20]])).toBe(0);
  expect(await found(1_191, LAMPS, [[0, 20]])).toBe(1);
});

test('a list of so many lacks only what comes before its last one', async () => {
  const { fact, found } = listChecker();
  fact(20, 100, LAMPS, { rank: 5 });
  expect(await found(101, LAMPS, [[1, 20, 4]], 1)).toBe(0);
  expect(await found(102, LAMPS, [[1, 20, 6]], 1)).toBe(1);
  expect(await found(103, LAMPS, [[1, 20, 4]], 2)).toBe(1);
});

test('a row that has changed again explains its absence', async () => {
  const { asked, fact, found } = listChecker();
  fact(20, 100, LAMPS);
  fact(30, 150, BOWLS, { kind: 'late-put' });
  expect(await found(151, LAMPS, [])).toBe(0);
  expect(asked).toEqual([]);
});

test('what nobody has told of is asked of the store', async () => {
  const { asked, checker, fact, found } = listChecker(false);
  fact(20, 100, LAMPS);
  expect(await found(101, LAMPS, [])).toBe(0);
  expect(asked).toEqual([{ index: 0, version: 20, group: LAMPS, rank: 10 }]);
  expect(checker.verdicts).toEqual({ checked: 1, stale: 0, unjudged: 1 });
});
