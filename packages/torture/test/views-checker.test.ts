import { expect, test } from 'vitest';
import { checkViews } from '../src/views/checker/check.js';
import type { Promised, Shown, State, ViewRead, Window } from '../src/views/history.js';
import type { Category, Query } from '../src/views/rows.js';

const ABSENT: State = { token: null, category: '', shelf: 0, ref: '', version: 0, fromUs: -Infinity };
const SLACK_US = 3_000;

function state(token: string, category: Category, version: number, more: Partial<State> = {}): State {
  return { token, category, shelf: 0, ref: 'j', version, fromUs: version, ...more };
}

/** `k` is in `a`, goes to `b`, is deleted, and comes back to `a`; `j` is in `b` all the time. */
const K = [
  ABSENT,
  state('k1', 'a', 10),
  state('k2', 'A', 20),
  { ...ABSENT, fromUs: 30_000 },
  state('k4', 'a', 40, { fromUs: 40_000 }),
];
const J = [ABSENT, state('j1', 'A', 5, { ref: 'k' })];
const states = new Map([
  ['k', K],
  ['j', J],
]);
const k2: Promised = { call: 'put', key: 'k', token: 'k2', version: 20, endUs: 25 };
const gone: Promised = { call: 'put', key: 'k', token: null, version: 35, endUs: 30_036 };
const a: Query = { view: 'category', category: 'a' };
const b: Query = { view: 'category', category: 'A' };
const all: Query = { view: 'all' };
const pair: Query = { view: 'pair', key: 'j' };

function read(query: Query, startUs: number, ...shown: Shown[]): ViewRead {
  return { query, startUs, endUs: startUs + 5, shown };
}

function found(promised: Promised[], reads: ViewRead[], windows: Window[] = []) {
  const { excused, lost, stale, wrong } = checkViews({ states, promised, reads, windows });
  return { stale: stale.length, wrong: wrong.length, lost: lost.length, excused };
}

const NOTHING = { stale: 0, wrong: 0, lost: 0, excused: 0 };

test.for<[string, Query, Shown[]]>([
  ['a list that still has the row that left', a, [['k', 'k1']]],
  ['a list that lacks the row that entered', b, [['j', 'j1']]],
  [
    'an older state of a row that stays',
    all,
    [
      ['k', 'k1'],
      ['j', 'j1'],
    ],
  ],
  [
    'an older state of a row that another one leads to',
    pair,
    [
      ['k', 'k1'],
      ['j', 'j1'],
    ],
  ],
])('%s is stale once the write was acknowledged, and not before', ([, query, shown]) => {
  expect(found([k2], [read(query, 26, ...shown)])).toEqual({ ...NOTHING, stale: 1 });
  expect(found([k2], [read(query, 25, ...shown)])).toEqual(NOTHING);
  expect(found([], [read(query, 26, ...shown)])).toEqual(NOTHING);
});

test('what is newer than promised is right', () => {
  const later = [
    read(a, 26),
    read(a, 40_001, ['k', 'k4']),
    read(b, 30_001, ['j', 'j1']),
    read(pair, 30_001, ['j', 'j1']),
  ];
  expect(found([k2], later)).toEqual(NOTHING);
});

test('to a list that the row had left before by another write nothing is promised', () => {
  const later: Promised = { ...gone, call: 'delete' };
  expect(found([later], [read(a, 50_000, ['k', 'k1'])])).toEqual(NOTHING);
  expect(found([later, k2], [read(a, 50_000, ['k', 'k1'])])).toEqual({ ...NOTHING, stale: 1 });
});

test('a deletion is known by its version', () => {
  expect(found([gone], [read(b, 30_037, ['k', 'k2'], ['j', 'j1'])])).toEqual({ ...NOTHING, stale: 1 });
  expect(found([gone], [read(b, 30_037, ['j', 'j1'])])).toEqual(NOTHING);
});

test('an absence is not explained by what happened later', () => {
  const entered = K.map((each) => (each.token === null ? each : { ...each, category: 'A' as const }));
  entered.push(state('k5', 'a', 90, { fromUs: 50_060 + SLACK_US }));
  const one = {
    states: new Map([['k', entered]]),
    promised: [{ ...k2, token: 'k4', endUs: 50_000 }],
    windows: [],
  };
  expect(checkViews({ ...one, reads: [read(b, 50_050)] }).stale).toHaveLength(1);
  expect(checkViews({ ...one, reads: [read(b, 50_060)] }).stale).toHaveLength(0);
});

test.for<[string, Query, Shown[]]>([
  [
    'a row that nobody has committed',
    all,
    [
      ['k', 'k9'],
      ['j', 'j1'],
    ],
  ],
  [
    'a key that is nobody’s',
    all,
    [
      ['i', 'i1'],
      ['j', 'j1'],
    ],
  ],
  ['a row of another category', a, [['k', 'k2']]],
  [
    'a row twice',
    b,
    [
      ['j', 'j1'],
      ['j', 'j1'],
    ],
  ],
  ['a row that the first one does not lead to', { view: 'pair', key: 'k' }, [['j', 'j1']]],
])('%s is wrong', ([, query, shown]) => {
  expect(found([], [read(query, 26, ...shown)])).toEqual({ ...NOTHING, wrong: 1 });
});

test('an acknowledged write that was never committed is lost', () => {
  expect(found([{ ...k2, token: 'k9' }], [])).toEqual({ ...NOTHING, lost: 1 });
});

test('after a failover nothing is promised for a while', () => {
  const stale = read(a, 100, ['k', 'k1']);
  expect(found([k2], [stale], [{ fromUs: 90, toUs: 101 }])).toEqual({ ...NOTHING, excused: 1 });
  expect(found([k2], [stale], [{ fromUs: 50, toUs: 99 }])).toEqual({ ...NOTHING, stale: 1 });
});
