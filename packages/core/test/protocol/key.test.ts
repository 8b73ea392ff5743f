import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { InvalidIdError } from '../../src/errors.js';
import { checkKey, keyPrefix, MAX_KEY_LENGTH } from '../../src/protocol/key.js';

describe('cache keys', () => {
  test('start with prefix and collection, readably', () => {
    expect(keyPrefix('wtc', 'products')).toBe('wtc:products:');
    expect(keyPrefix('a:b', '50%:c')).toBe('a%3Ab:50%25%3Ac:');
  });

  test('no two (prefix, collection, key) meet in one cache key', () => {
    const part = fc.string({ unit: fc.constantFrom(':', '%', '3', 'A', '2', '5', 'x'), maxLength: 6 });
    const triple = fc.tuple(part, part, part);
    fc.assert(
      fc.property(triple, triple, ([p1, c1, k1], [p2, c2, k2]) => {
        const same = p1 === p2 && c1 === c2 && k1 === k2;
        expect(keyPrefix(p1, c1) + k1 === keyPrefix(p2, c2) + k2).toBe(same);
      }),
      { numRuns: 5_000 },
    );
  });

  test.each([
    ['', 'must not be empty'],
    [5, 'must be a string, got number'],
    [null, 'got null'],
    [['a'], 'got array'],
    [undefined, 'got undefined'],
    ['x'.repeat(MAX_KEY_LENGTH + 1), 'at most 1024 characters, got 1025'],
    ['\ud800', 'well-formed'],
  ])('the id %o is refused: %s', (id, message) => {
    expect(() => checkKey(id, 'products')).toThrow(InvalidIdError);
    expect(() => checkKey(id, 'products')).toThrow(message);
    expect(() => checkKey(id, 'products')).toThrow('products');
  });

  test('a key of the greatest length is one', () => {
    expect(() => checkKey('x'.repeat(MAX_KEY_LENGTH), 'products')).not.toThrow();
  });
});
