import { describe, expect, expectTypeOf, test } from 'vitest';
import { InvalidOptionError } from '../../src/errors.js';
import { checkOptions, type OptionsOf, option, optionValue, withDefaults } from '../../src/kit/options.js';

interface Pause {
  readonly firstMs?: number;
  readonly doubles?: boolean;
}

interface Retries {
  readonly name: string;
  readonly tries?: number;
  readonly kind?: 'quick' | 'slow';
  readonly pause?: Pause;
  readonly onError?: (error: unknown) => void;
}

const PAUSE = {
  firstMs: option.integer(50, 1, 1_000),
  doubles: option.flag(true),
} satisfies OptionsOf<Pause>;

const RETRIES = {
  name: option.required(option.is<string>('a name', (name) => typeof name === 'string')),
  tries: option.integer(5, 1, 10),
  kind: option.choice(['quick', 'slow'], 'quick'),
  pause: option.group(PAUSE),
  onError: option.callback<(error: unknown) => void>(),
} satisfies OptionsOf<Retries>;

const NUMBER = option.integer(5, 1, 10);

describe('options', () => {
  test('what is given is checked and completed with the defaults, groups included', () => {
    const complete = withDefaults({ name: 'a', kind: 'slow', pause: { doubles: false } }, RETRIES, 'retries');
    const pause = { firstMs: 50, doubles: false };
    expect(complete).toEqual({ name: 'a', tries: 5, kind: 'slow', pause, onError: undefined });
    const bare = withDefaults({ name: 'a', tries: undefined }, RETRIES, 'retries');
    expect(bare).toMatchObject({ tries: 5, kind: 'quick', pause: { firstMs: 50, doubles: true } });
  });

  test('settings have the types of their options', () => {
    const settings = withDefaults({ name: 'a' }, RETRIES, 'retries');
    expectTypeOf(settings.name).toEqualTypeOf<string>();
    expectTypeOf(settings.tries).toEqualTypeOf<number>();
    expectTypeOf(settings.kind).toEqualTypeOf<'quick' | 'slow'>();
    expectTypeOf(settings.pause.doubles).toEqualTypeOf<boolean>();
    expectTypeOf(settings.onError).toEqualTypeOf<((error: unknown) => void) | undefined>();
    // @ts-expect-error one is missing
    ({ firstMs: option.integer(50, 1, 1_000) }) satisfies OptionsOf<Pause>;
    // @ts-expect-error of another type
    ({ ...PAUSE, firstMs: option.flag(true) }) satisfies OptionsOf<Pause>;
    // @ts-expect-error there is no such option
    ({ ...PAUSE, lastMs: option.integer(50, 1, 1_000) }) satisfies OptionsOf<Pause>;
  });

  test.each([
    [{ name: 'a', try: 1 }, 'retries.try: unknown option; known are name, tries, kind, pause, onError'],
    [{ name: 'a', pause: { first: 1 } }, 'retries.pause.first: unknown option; known are firstMs, doubles'],
    [{ name: 'a', toString: 1 }, 'retries.toString: unknown option'],
    [{ name: 'a', tries: 11 }, 'retries.tries: must be a whole number from 1 to 10, got 11'],
    [{ name: 'a', kind: 'odd' }, 'retries.kind: must be one of quick, slow, got odd'],
    [{ name: 'a', pause: { doubles: 1 } }, 'retries.pause.doubles: must be true or false, got 1'],
    [{ name: 'a', pause: null }, 'retries.pause: must be an object of options, got null'],
    [{ name: 'a', onError: 'log' }, 'retries.onError: must be a function'],
    [{ name: 5 }, 'retries.name: must be a name'],
    [{}, 'retries.name: must be a name'],
  ])('%o: %s', (given, message) => {
    const check = (): unknown => withDefaults(given, RETRIES, 'retries');
    expect(check).toThrow(InvalidOptionError);
    expect(check).toThrow(message);
  });

  test.each([undefined, null, 5, 'ttlMs'])('%s is no object of options', (value) => {
    const check = (): void => checkOptions(value as never, RETRIES, 'retries');
    expect(check).toThrow(InvalidOptionError);
    expect(check).toThrow(`retries: must be an object of options, got ${value}`);
  });

  test('of a call’s options only those that are given are looked at', () => {
    expect(() => checkOptions({ tries: undefined }, RETRIES, 'retries')).not.toThrow();
    expect(() => checkOptions({ tries: 0 }, RETRIES, 'retries')).toThrow('retries.tries');
  });

  test('a number is taken within its range, ends included, or its default when absent', () => {
    expect(optionValue(undefined, NUMBER, 'a.b')).toBe(5);
    expect(optionValue(1, NUMBER, 'a.b')).toBe(1);
    expect(optionValue(10, NUMBER, 'a.b')).toBe(10);
    expect(optionValue(1.5, option.decimal(5, 1, 10), 'a.b')).toBe(1.5);
  });

  test.each([0, -1, 11, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '5', null])(
    'the number %o is refused',
    (value) => {
      const check = (): unknown => optionValue(value as number, NUMBER, 'a.b');
      expect(check).toThrow(InvalidOptionError);
      expect(check).toThrow(`a.b: must be a whole number from 1 to 10, got ${value}`);
    },
  );
});
