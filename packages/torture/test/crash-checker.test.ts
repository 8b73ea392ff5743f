import { describe, expect, test } from 'vitest';
import { check } from '../src/crash/checker/check.js';
import { timelinesOf } from '../src/crash/checker/timeline.js';
import type { Acknowledgement, FinalRow, History, Read, Write } from '../src/crash/history.js';

const SLACK_US = 20;

/** A write from `startUs` to `endUs`; its token says which it is. */
function wrote(
  token: string,
  startUs: number,
  endUs: number,
  version: number,
  more: Partial<Acknowledgement> & Partial<Pick<Write, 'kind' | 'foreign'>> = {},
): Write {
  const { kind = 'put', foreign = false, ...ack } = more;
  const seen = kind === 'delete' ? null : token;
  const usual = { store: 'committed', cache: 'updated', coalesced: false, after: '' } as const;
  const named = kind === 'put' || kind === 'update' ? token : '';
  return {
    kind,
    key: 'k',
    token: named,
    foreign,
    startUs,
    ack: { ...usual, endUs, version, seen, ...ack },
  };
}

function unanswered(token: string, startUs: number, kind: Write['kind'] = 'put'): Write {
  return { kind, key: 'k', token: kind === 'put' ? token : '', foreign: false, startUs };
}

function read(seen: string | null, startUs: number, version: number, fallback = false): Read {
  return { key: 'k', seen, startUs, endUs: startUs + 5, version, fallback };
}

function row(token: string, version: number, counter = 0): FinalRow {
  return { token, version, counter };
}

/** How many of each kind the checker finds. */
function found(writes: Write[], final: FinalRow | undefined, reads: Read[] = []) {
  const history: History = { writes, reads, rows: new Map([['k', final]]) };
  const { lost, reordered, staleFallbacks, staleReads } = check(history, { foreignSlackUs: SLACK_US });
  return {
    lost: lost.length,
    reordered: reordered.length,
    stale: staleReads.length,
    fallbacks: staleFallbacks.length,
  };
}

const NOTHING = { lost: 0, reordered: 0, stale: 0, fallbacks: 0 };
const A = wrote('a', 0, 10, 2);
const B = wrote('b', 20, 30, 4);

describe('lost', () => {
  test('nothing, where the row is the last write', () => {
    expect(found([A, B], row('b', 4))).toEqual(NOTHING);
  });

  test('a write that began after the one of the row was over', () => {
    expect(found([A, B], row('a', 6))).toMatchObject({ lost: 1 });
  });

  test('either of two that were under way at once may be the row', () => {
    const during = wrote('b', 5, 30, 4);
    expect(found([A, during], row('b', 4)).lost).toBe(0);
    expect(found([A, during], row('a', 4)).lost).toBe(0);
  });

  test('a write of unknown outcome may be the row, however late', () => {
    expect(found([unanswered('x', 0), B], row('x', 5))).toEqual(NOTHING);
  });

  test('a row that nobody wrote', () => {
    expect(found([A], row('z', 2)).lost).toBe(1);
  });

  test('a row that is gone, with no delete that may have come last', () => {
    expect(found([A], undefined).lost).toBe(1);
    const before = wrote('', 0, 5, 3, { kind: 'delete' });
    expect(found([before, B], undefined).lost).toBe(1);
    expect(found([A, wrote('', 12, 15, 3, { kind: 'delete' })], undefined)).toEqual(NOTHING);
    expect(found([A, unanswered('', 2, 'delete')], undefined)).toEqual(NOTHING);
  });

  test('a delete that found no row counts, although it has no version', () => {
    expect(found([A, wrote('', 20, 30, 0, { kind: 'delete' })], row('a', 2)).lost).toBe(1);
  });

  test('an update on a row that had been replaced before it began', () => {
    const update = wrote('c', 40, 50, 6, { kind: 'update', after: 'a' });
    expect(found([A, B, update], row('c', 6)).lost).toBe(1);
    expect(found([A, B, { ...update, startUs: 25 }], row('c', 6))).toEqual(NOTHING);
  });

  test('an addition that is gone or was made twice; unanswered ones may have been made', () => {
    const add = (at: number, version: number): Write =>
      wrote('a', at, at + 5, version, { kind: 'increment' });
    const adds = [add(20, 4), add(30, 6)];
    expect(found([A, ...adds], row('a', 6, 2))).toEqual(NOTHING);
    expect(found([A, ...adds], row('a', 6, 1)).lost).toBe(1);
    expect(found([A, ...adds], row('a', 6, 3)).lost).toBe(1);
    expect(found([A, ...adds, unanswered('', 40, 'increment')], row('a', 8, 3))).toEqual(NOTHING);
  });
});

describe('reordered', () => {
  test('a later write has no higher version', () => {
    expect(found([A, wrote('b', 20, 30, 2)], row('b', 2)).reordered).toBeGreaterThan(0);
    expect(found([wrote('a', 0, 10, 9), B], row('b', 10)).reordered).toBe(1);
  });

  test('one that was under way at the same time may have any', () => {
    expect(found([wrote('a', 0, 25, 9), B], row('a', 9))).toEqual(NOTHING);
  });

  test('a row below what a writer was told', () => {
    expect(found([A, wrote('b', 5, 12, 8)], row('b', 6)).reordered).toBe(1);
  });

  test('one version for two values', () => {
    expect(found([wrote('a', 0, 10, 4), wrote('b', 5, 12, 4)], row('b', 4)).reordered).toBe(1);
    expect(found([B], row('b', 4), [read('x', 40, 4)]).reordered).toBe(1);
  });

  test('updates of one statement: those that the next one changed again share a version, which no row has', () => {
    const passed = { kind: 'update', coalesced: true } as const;
    const three = [
      wrote('a', 0, 9, 3, passed),
      wrote('b', 1, 9, 3, passed),
      wrote('c', 2, 9, 4, { kind: 'update' }),
    ];
    expect(found(three, row('c', 4))).toEqual(NOTHING);
    expect(found(three, row('c', 4), [read('b', 3, 3)]).reordered).toBe(1);
    expect(found([wrote('a', 0, 9, 4, passed), wrote('c', 2, 9, 4)], row('c', 4)).reordered).toBe(1);
  });

  test('a foreign write and one of ours, only beyond the slack', () => {
    const foreign = { ...A, foreign: true, ack: { ...(A.ack as Acknowledgement), version: 9 } };
    expect(found([foreign, B], row('b', 10))).toEqual(NOTHING);
    expect(found([foreign, wrote('b', 31, 40, 4)], row('b', 10)).reordered).toBe(1);
  });
});

describe('stale reads', () => {
  test('less than a write that was over before the read began', () => {
    expect(found([A, B], row('b', 4), [read('a', 40, 2)])).toEqual({ ...NOTHING, stale: 1 });
    expect(found([A, B], row('b', 4), [read('a', 25, 2), read('b', 25, 4)])).toEqual(NOTHING);
  });

  test('no row, where no delete may have come in between', () => {
    expect(found([A], row('a', 2), [read(null, 40, 0)]).stale).toBe(1);
    const deleted = wrote('', 12, 18, 3, { kind: 'delete' });
    expect(found([A, deleted, B], row('b', 4), [read(null, 19, 0)])).toEqual(NOTHING);
    expect(found([A, deleted, B], row('b', 4), [read(null, 40, 0)]).stale).toBe(1);
  });

  test('a read that fell back to the store is counted apart', () => {
    expect(found([A, B], row('b', 4), [read('a', 40, 2, true)])).toEqual({ ...NOTHING, fallbacks: 1 });
  });

  test('a write whose cache update was left to the queue promises nothing yet', () => {
    const queued = wrote('b', 20, 30, 4, { cache: 'queued' });
    expect(found([A, queued], row('b', 4), [read('a', 40, 2)])).toEqual(NOTHING);
  });
});

test('the timeline of a key that a finding names has each of its calls, and the row at the end', () => {
  const writes = [B, unanswered('c', 5_000), A, { ...A, key: 'other' }];
  const history: History = { writes, reads: [read(null, 1_000, 3)], rows: new Map([['k', row('b', 4)]]) };
  expect(timelinesOf(['k: a put is gone', 'k: twice'], history)).toEqual({
    k: [
      '0.00–0.01 put a a @2, store committed, cache updated',
      '0.02–0.03 put b b @4, store committed, cache updated',
      '1.00–1.00 read nothing @3',
      '5.00– put c never answered',
      'at the end: b counter 0 @4',
    ],
  });
});
