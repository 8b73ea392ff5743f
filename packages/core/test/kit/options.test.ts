import { describe, expect, test } from 'vitest';
import { InvalidOptionError } from '../../src/errors.js';
import { checkKnown, choiceOption, numberOption } from '../../src/kit/options.js';

const range = { min: 1, max: 10 };

describe('options', () => {
  test('an unknown one is refused by its path, and the known ones are listed', () => {
    expect(() => checkKnown({ ttl: 1 }, ['ttlMs', 'name'], 'collection')).toThrow(InvalidOptionError);
    expect(() => checkKnown({ ttl: 1 }, ['ttlMs', 'name'], 'collection')).toThrow(
      'collection.ttl: unknown option; known are ttlMs, name',
    );
    expect(() => checkKnown({ ttlMs: undefined }, ['ttlMs'], 'collection')).not.toThrow();
  });

  test.each([undefined, null, 5, 'ttlMs'])('%s is no object of options', (value) => {
    const check = (): void => checkKnown(value as never, ['ttlMs'], 'collection');
    expect(check).toThrow(InvalidOptionError);
    expect(check).toThrow(`collection: must be an object of options, got ${value}`);
  });

  test('a number is taken within its range, ends included, or its default when absent', () => {
    expect(numberOption(undefined, 5, 'a.b', range)).toBe(5);
    expect(numberOption(1, 5, 'a.b', range)).toBe(1);
    expect(numberOption(10, 5, 'a.b', range)).toBe(10);
    expect(numberOption(1.5, 5, 'a.b', { ...range, integer: false })).toBe(1.5);
  });

  test.each([0, -1, 11, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '5', null])(
    'the number %o is refused',
    (value) => {
      const check = (): unknown => numberOption(value as number, 5, 'a.b', range);
      expect(check).toThrow(InvalidOptionError);
      expect(check).toThrow(`a.b: must be a whole number from 1 to 10, got ${value}`);
    },
  );

  test('a choice is one of its choices, or its default when absent', () => {
    expect(choiceOption(undefined, 'a', 'x', ['a', 'b'])).toBe('a');
    expect(choiceOption('b', 'a', 'x', ['a', 'b'])).toBe('b');
    expect(() => choiceOption('c' as 'a', 'a', 'x', ['a', 'b'])).toThrow('x: must be one of a, b, got c');
  });
});
