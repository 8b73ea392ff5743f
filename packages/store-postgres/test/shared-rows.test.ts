import { expect, test } from 'vitest';
import { SharedOutboxRows } from '../src/feed/shared-rows.js';

const change = (source: string, key: string, version: number) => ({ source, key, version });

test('a row is removed with the last of its changes, in any order; what is alone, at once', () => {
  const rows = new SharedOutboxRows(100);
  rows.add('t', [
    { key: 'a', version: 6 },
    { key: 'b', version: 10 },
    { key: 'c', version: 14 },
  ]);
  expect(rows.take(change('t', 'z', 10))).toEqual({ ...change('t', 'z', 10), shared: false });
  expect(rows.take(change('t', 'c', 14))).toBeUndefined();
  expect(rows.take(change('t', 'a', 6))).toBeUndefined();
  expect(rows.take(change('t', 'b', 10))).toEqual({ ...change('t', 'a', 6), shared: true });
});

test('changes of one version are told apart by key and source', () => {
  const rows = new SharedOutboxRows(100);
  rows.add('t', [
    { key: 'a', version: 6 },
    { key: 'b', version: 6 },
  ]);
  rows.add('u', [
    { key: 'a', version: 6 },
    { key: 'b', version: 6 },
  ]);
  expect(rows.take(change('t', 'a', 6))).toBeUndefined();
  expect(rows.take(change('u', 'b', 6))).toBeUndefined();
  expect(rows.take(change('u', 'a', 6))).toEqual({ ...change('u', 'a', 6), shared: true });
  expect(rows.take(change('t', 'b', 6))).toEqual({ ...change('t', 'a', 6), shared: true });
});

test('bounded: of the oldest row too little is known to remove it', () => {
  const rows = new SharedOutboxRows(3);
  rows.add('t', [
    { key: 'a', version: 6 },
    { key: 'b', version: 10 },
  ]);
  rows.add('t', [
    { key: 'c', version: 14 },
    { key: 'd', version: 18 },
  ]);
  expect(rows.take(change('t', 'a', 6))).toEqual({ ...change('t', 'a', 6), shared: false });
  expect(rows.take(change('t', 'b', 10))).toBeUndefined();
  expect(rows.take(change('t', 'c', 14))).toBeUndefined();
  expect(rows.take(change('t', 'd', 18))).toEqual({ ...change('t', 'c', 14), shared: true });
});

test('many that come and go leave nothing behind, and none that waits is forgotten', () => {
  const rows = new SharedOutboxRows(10_000);
  rows.add('t', [
    { key: 'first', version: 2 },
    { key: 'other', version: 3 },
  ]);
  expect(rows.take(change('t', 'other', 3))).toBeUndefined();
  for (let version = 4; version < 50_000; version += 8) {
    rows.add('t', [
      { key: 'a', version },
      { key: 'b', version: version + 4 },
    ]);
    expect(rows.take(change('t', 'b', version + 4))).toBeUndefined();
    expect(rows.take(change('t', 'a', version))).toEqual({
      ...change('t', 'a', version),
      shared: true,
    });
    expect(rows.take(change('t', 'a', version))).toEqual({
      ...change('t', 'a', version),
      shared: false,
    });
  }
  expect(rows.take(change('t', 'first', 2))).toEqual({ ...change('t', 'first', 2), shared: true });
});
