import { InvalidIdError } from '@lockstep/core';
import fc from 'fast-check';
import {
  Binary,
  BSON,
  Code,
  Decimal128,
  Double,
  Int32,
  Long,
  MaxKey,
  MinKey,
  ObjectId,
  Timestamp,
  UUID,
} from 'mongodb';
import { describe, expect, test } from 'vitest';
import { decodeKey, encodeKey } from '../src/rows/key.js';

const key = (id: unknown): string => encodeKey(id, 'c');

describe('keys', () => {
  test('are what one would write by hand, where that is unambiguous', () => {
    expect(key('alice')).toBe('alice');
    expect(key(new ObjectId('507f1f77bcf86cd799439011'))).toBe('507f1f77bcf86cd799439011');
    expect(key('507f1f77bcf86cd799439011')).toBe('~"507f1f77bcf86cd799439011"');
    expect(key('~x')).toBe('~"~x"');
    expect(key('')).toBe('~""');
    expect(key(7)).toBe('~7');
    expect(key('7')).toBe('7');
  });

  test('numbers that MongoDB holds for equal share one, whatever their BSON type', () => {
    const equal: unknown[][] = [
      [
        1,
        1n,
        new Int32(1),
        new Double(1),
        Long.fromNumber(1),
        Decimal128.fromString('1'),
        Decimal128.fromString('1.00'),
      ],
      [0, -0, new Double(-0), Decimal128.fromString('-0E+3')],
      [0.5, new Double(0.5), Decimal128.fromString('0.50')],
      [2 ** 53, 2n ** 53n, Decimal128.fromString('9007199254740992')],
      [1e20, Decimal128.fromString('1E+20')],
      [Number.NaN, Decimal128.fromString('NaN')],
      [Number.POSITIVE_INFINITY, Decimal128.fromString('Infinity')],
      [{ a: 1 }, { a: new Double(1) }],
    ];
    for (const ids of equal) expect(new Set(ids.map(key)).size).toBe(1);
    expect(new Set(equal.map(([id]) => key(id))).size).toBe(equal.length);
  });

  test('numbers that differ in the last digit have different ones', () => {
    expect(key(0.1)).not.toBe(key(Decimal128.fromString('0.1')));
    expect(key(Long.MAX_VALUE)).not.toBe(key(2 ** 63));
    expect(key(Decimal128.fromString('1E-400'))).not.toBe(key(0));
  });

  test('no two types meet', () => {
    const hex = '507f1f77bcf86cd799439011';
    const ids = [
      hex,
      new ObjectId(hex),
      `~"${hex}"`,
      '1',
      1,
      '~1',
      true,
      'true',
      '~true',
      null,
      'null',
      new Date(1),
      Timestamp.fromBits(1, 0),
      new UUID('6c3f2e1a-0000-4000-8000-00000000000b'),
      new Binary(Buffer.from(hex, 'hex')),
      { a: hex },
      { a: new ObjectId(hex) },
      { a: 1, b: 2 },
      { b: 2, a: 1 },
      new MinKey(),
      new MaxKey(),
      new Code('1'),
    ];
    expect(new Set(ids.map(key)).size).toBe(ids.length);
  });

  test('give the id back, equal to MongoDB', () => {
    const id = fc.letrec((tie) => ({
      leaf: fc.oneof(
        fc.string({ unit: 'grapheme' }),
        fc.integer(),
        fc.double({ noNaN: true }),
        fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
        fc.boolean(),
        fc.constant(null),
        fc.date({ noInvalidDate: true }),
        fc.uint8Array({ maxLength: 40 }).map((bytes) => new Binary(bytes)),
        fc.uint8Array({ minLength: 12, maxLength: 12 }).map((bytes) => new ObjectId(bytes)),
      ),
      any: fc.oneof(
        { depthSize: 'small' },
        tie('leaf'),
        fc.dictionary(fc.stringMatching(/^[a-z]{1,4}$/), tie('any'), { maxKeys: 3, noNullPrototype: true }),
      ),
    })).any;
    fc.assert(
      fc.property(id, (value) => {
        const text = key(value);
        const back = decodeKey(text, 'c');
        expect(key(back)).toBe(text);
        // Through BSON both are the same value; only a zero's sign is lost.
        const stored = (v: unknown): string => BSON.EJSON.stringify(BSON.deserialize(BSON.serialize({ v })));
        expect(stored(back).replaceAll('-0.0', '0')).toBe(stored(value).replaceAll('-0.0', '0'));
      }),
      { numRuns: 300 },
    );
  });

  test('what is no id is refused by name', () => {
    for (const bad of [
      undefined,
      [],
      [1],
      /x/,
      { $a: 1 },
      { a: undefined },
      { 1: 1, b: 2 },
      Symbol('s'),
      new Date(Number.NaN),
      '\ud800',
      2n ** 63n,
      new Map(),
    ]) {
      expect(() => key(bad)).toThrow(InvalidIdError);
    }
    expect(() => decodeKey('~{', 'c')).toThrow(InvalidIdError);
  });

  test('that would be too long are refused by their length alone', () => {
    expect(key('x'.repeat(1_024))).toHaveLength(1_024);
    for (const id of ['x'.repeat(1_025), '\ud800'.repeat(10_000_000), new Uint8Array(10_000_000)]) {
      expect(() => key(id)).toThrow(/longer than 1024 characters/);
    }
  });
});
