import { describe, expect, test } from 'vitest';
import { copyOf } from '../../src/values/copy.js';
import { differenceOf, patched } from '../../src/values/difference.js';

class Money {
  readonly amount: string;
  constructor(amount: string) {
    this.amount = amount;
  }
}

class Sealed {
  readonly #inner: string;
  constructor(inner: string) {
    this.#inner = inner;
  }
  get inner(): string {
    return this.#inner;
  }
}

const nested = () => ({
  list: [1, { a: new Date(5) }],
  bytes: Buffer.from('ab'),
  map: new Map([[1, { b: 2 }]]),
});

const loop: Record<string, unknown> = { a: 1 };
loop['self'] = [loop];

describe('differenceOf', () => {
  test.each<[string, unknown, unknown]>([
    ['numbers', 1, 2],
    ['zero and minus zero', 0, -0],
    ['null and a value', null, 'a'],
    ['dates', new Date(1), new Date(2)],
    ['bytes', Buffer.from('a'), Buffer.from('b')],
    ['nested values', nested(), { ...nested(), list: [1, { a: new Date(6) }] }],
    ['instances', new Money('1'), new Money('2')],
    ['an instance and a plain object of the same properties', new Money('1'), { amount: '1' }],
    ['instances that show nothing', new Sealed('1'), new Sealed('1')],
    ['properties in another order', { a: 1, b: 2 }, { b: 2, a: 1 }],
    ['deeper ones', [{ a: [{ b: 1, c: 2 }] }], [{ a: [{ c: 2, b: 1 }] }]],
  ])('%s differ', (_, before, after) => {
    expect(differenceOf({ x: before, y: 1 }, { x: after, y: 1 })).toEqual({ set: { x: after }, unset: [] });
  });

  test.each<[string, unknown]>([
    ['NaN', Number.NaN],
    ['minus zero', -0],
    ['undefined', undefined],
    ['nested values', nested()],
    ['instances', new Money('1')],
    ['an instance that shows nothing', new Sealed('1')],
    ['an empty object', {}],
    ['no time', new Date(Number.NaN)],
    ['what leads back to itself', loop],
    ['bytes', Buffer.from('a')],
  ])('%s and its copy are the same', (_, value) => {
    const row = { x: value };
    expect(differenceOf(copyOf(row), row)).toEqual({ set: {}, unset: [] });
  });

  test('what is gone or undefined is unset', () => {
    const before: Record<string, unknown> = { a: 1, b: 2, c: undefined };
    expect(differenceOf(before, { a: undefined })).toEqual({ set: {}, unset: ['a', 'b'] });
  });
});

test('copyOf: later changes do not reach the copy', () => {
  const value = { ...nested(), own: new Money('1') };
  const copy = copyOf(value);
  (value.list[1] as { a: Date }).a.setTime(9);
  value.bytes[0] = 0;
  (value.map.get(1) as { b: number }).b = 9;
  Object.assign(value.own, { amount: '9' });
  expect(copy).toEqual({ ...nested(), own: new Money('1') });
  expect(copy.own).toBeInstanceOf(Money);
});

test('patched: paths lead into documents and leave the row that was given', () => {
  const row: { a: { b: number; c: number }; d?: unknown } = { a: { b: 1, c: 2 } };
  expect(patched(row, { 'a.b': 3, 'd.e': 4 })).toEqual({ a: { b: 3, c: 2 }, d: { e: 4 } });
  expect(row).toEqual({ a: { b: 1, c: 2 } });
});

test.each<[string, object, string]>([
  ['text', { a: 'x' }, 'a.b'],
  ['a date', { a: new Date(0) }, 'a.b'],
  ['an array, by name', { a: [{ b: 1 }] }, 'a.b'],
  ['an element that is not there', { a: [1] }, 'a.1'],
])('patched: a path through %s leads nowhere', (_, row, path) => {
  expect(() => patched(row, { [path]: 1 })).toThrow(`"${path}" leads nowhere`);
});

test('patched: a path leads to elements, and through null', () => {
  expect(patched({ a: [{ b: 1 }, 2], c: null }, { 'a.0.b': 3, 'c.d': 4 })).toEqual({
    a: [{ b: 3 }, 2],
    c: { d: 4 },
  });
  expect(patched({ 'a.b': 1 }, { 'a.b': 2 })).toEqual({ 'a.b': 2 });
});
