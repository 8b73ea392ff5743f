import { expect, test } from 'vitest';
import { Together } from '../src/feed/together.js';

const change = (source: string, key: string, version: number) => ({ source, key, version });

test('a row is removed with the last of its changes, in any order; what is alone, at once', () => {
  const together = new Together(100);
  together.add('t', [
    { key: 'a', version: 6 },
    { key: 'b', version: 10 },
    { key: 'c', version: 14 },
  ]);
  expect(together.take(change('t', 'z', 10))).toEqual({ ...change('t', 'z', 10), together: false });
  expect(together.take(change('t', 'c', 14))).toBeUndefined();
  expect(together.take(change('t', 'a', 6))).toBeUndefined();
  expect(together.take(change('t', 'b', 10))).toEqual({ ...change('t', 'a', 6), together: true });
});

test('changes of one version are told apart by key and source', () => {
  const together = new Together(100);
  together.add('t', [
    { key: 'a', version: 6 },
    { key: 'b', version: 6 },
  ]);
  together.add('u', [
    { key: 'a', version: 6 },
    { key: 'b', version: 6 },
  ]);
  expect(together.take(change('t', 'a', 6))).toBeUndefined();
  expect(together.take(change('u', 'b', 6))).toBeUndefined();
  expect(together.take(change('u', 'a', 6))).toEqual({ ...change('u', 'a', 6), together: true });
  expect(together.take(change('t', 'b', 6))).toEqual({ ...change('t', 'a', 6), together: true });
});

test('bounded: of the oldest row too little is known to remove it', () => {
  const together = new Together(3);
  together.add('t', [
    { key: 'a', version: 6 },
    { key: 'b', version: 10 },
  ]);
  together.add('t', [
    { key: 'c', version: 14 },
    { key: 'd', version: 18 },
  ]);
  expect(together.take(change('t', 'a', 6))).toEqual({ ...change('t', 'a', 6), together: false });
  expect(together.take(change('t', 'b', 10))).toBeUndefined();
  expect(together.take(change('t', 'c', 14))).toBeUndefined();
  expect(together.take(change('t', 'd', 18))).toEqual({ ...change('t', 'c', 14), together: true });
});

test('many that come and go leave nothing behind, and none that waits is forgotten', () => {
  const together = new Together(10_000);
  together.add('t', [
    { key: 'first', version: 2 },
    { key: 'other', version: 3 },
  ]);
  expect(together.take(change('t', 'other', 3))).toBeUndefined();
  for (let version = 4; version < 50_000; version += 8) {
    together.add('t', [
      { key: 'a', version },
      { key: 'b', version: version + 4 },
    ]);
    expect(together.take(change('t', 'b', version + 4))).toBeUndefined();
    expect(together.take(change('t', 'a', version))).toEqual({
      ...change('t', 'a', version),
      together: true,
    });
    expect(together.take(change('t', 'a', version))).toEqual({
      ...change('t', 'a', version),
      together: false,
    });
  }
  expect(together.take(change('t', 'first', 2))).toEqual({ ...change('t', 'first', 2), together: true });
});
