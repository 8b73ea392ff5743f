import { describe, expect, test } from 'vitest';
import { declaredText, MAX_DECLARED_BYTES } from '../../src/kit/index.js';
import { keyPrefix, MAX_KEY_LENGTH } from '../../src/protocol/key.js';
import { lookupKey, lookupName, lookupPrefix, textsOfKey } from '../../src/protocol/lookup.js';

describe('keys of lookups', () => {
  test('start like no key of a collection', () => {
    const name = lookupName('users', ['email']);
    const start = lookupPrefix('wtc', name, ['email']);
    expect(start).toBe('wtc:users%by-email:');
    expect(keyPrefix('wtc', name)).toBe('wtc:users%25by-email:');
    expect(keyPrefix('wtc', 'users')).toBe('wtc:users:');
  });

  test('are of their own columns, in their order', () => {
    const starts = [['a', 'b'], ['b', 'a'], ['a,b'], ['a:b'], ['a%b']].map((columns) =>
      lookupPrefix('wtc', lookupName('users', columns), columns),
    );
    expect(new Set(starts).size).toBe(starts.length);
    for (const start of starts) expect(start?.split(':')).toHaveLength(3);
    expect(lookupPrefix('wtc', 'users', ['email'])).toBeUndefined();
  });

  test('tell apart what is in which column', () => {
    const keys = [['=a', '=b'], ['=a:', '=b'], ['=a', '=:b'], ['=a:=b'], ['=a%3A=b'], ['=', '=a=b']].map(
      lookupKey,
    );
    expect(new Set(keys).size).toBe(keys.length);
  });

  test('lead back to the texts', () => {
    const texts = ['=50%25 of a:b', '=', '=%3A'];
    expect(textsOfKey(lookupKey(texts) ?? '')).toEqual(texts);
  });

  test('are none where a column has no value, or a long one', () => {
    expect(lookupKey(['=a', null])).toBeUndefined();
    expect(lookupKey(['=a', undefined])).toBeUndefined();
    expect(lookupKey([declaredText('x'.repeat(MAX_DECLARED_BYTES + 1))])).toBeUndefined();
    expect(
      lookupKey(Array.from({ length: 3 }, () => declaredText('x'.repeat(MAX_DECLARED_BYTES)))),
    ).toBeUndefined();
    expect(lookupKey(['=a'])?.length).toBeLessThanOrEqual(MAX_KEY_LENGTH);
  });
});

describe('the text of a declared value', () => {
  test('is bounded in bytes, and of one length beyond', () => {
    expect(declaredText('é'.repeat(MAX_DECLARED_BYTES / 2))).toBe(`=${'é'.repeat(MAX_DECLARED_BYTES / 2)}`);
    const long = declaredText(`${'é'.repeat(MAX_DECLARED_BYTES / 2)}x`);
    expect(long).toMatch(/^#[0-9a-f]{64}$/);
    expect(declaredText(`${'é'.repeat(MAX_DECLARED_BYTES / 2)}y`)).not.toBe(long);
  });
});
