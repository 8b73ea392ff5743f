import { expect, test } from 'vitest';
import { Acknowledged } from '../src/feed/acknowledged.js';

const change = (key: string, version: number) => ({ source: 'shop.products', key, version });

test('a version and those below it are acknowledged, also after a lower one came late', () => {
  const acknowledged = new Acknowledged();
  acknowledged.add(change('a', 4), undefined);
  acknowledged.add(change('a', 2), undefined);
  expect([2, 4, 6].map((version) => acknowledged.has(change('a', version), undefined))).toEqual([
    true,
    true,
    false,
  ]);
  expect(acknowledged.has(change('b', 2), undefined)).toBe(false);
  expect(acknowledged.has({ ...change('a', 2), source: 'shop.others' }, undefined)).toBe(false);
});

test('the last 25,000 rows are remembered, and of all others at most as many', () => {
  const acknowledged = new Acknowledged();
  acknowledged.add(change('a', 4), undefined);
  for (let i = 0; i < 60_000; i++) acknowledged.add(change(String(i), 2), undefined);
  expect(acknowledged.has(change('a', 4), undefined)).toBe(false);
  const known = Array.from({ length: 60_000 }, (_, i) => acknowledged.has(change(String(i), 2), undefined));
  expect(known.slice(-25_000).every(Boolean)).toBe(true);
  expect(known.filter(Boolean).length).toBeLessThanOrEqual(50_000);
});

test('a row that is acknowledged again is as young as any', () => {
  const acknowledged = new Acknowledged();
  acknowledged.add(change('a', 4), undefined);
  for (let i = 0; i < 25_000; i++) acknowledged.add(change(String(i), 2), undefined);
  acknowledged.add(change('a', 6), undefined);
  for (let i = 0; i < 24_000; i++) acknowledged.add(change(`more-${i}`, 2), undefined);
  expect(acknowledged.has(change('a', 6), undefined)).toBe(true);
});

test('what was dealt with under one state of the registry is not under another', () => {
  const acknowledged = new Acknowledged();
  const state = { consumer: 'wtc', source: 'shop.products', revision: 1, epoch: 1 };
  acknowledged.add(change('a', 4), state);
  expect(acknowledged.has(change('a', 4), { ...state })).toBe(true);
  for (const other of [
    { ...state, revision: 2 },
    { ...state, epoch: 2 },
    { ...state, consumer: 'other' },
    undefined,
  ]) {
    expect(acknowledged.has(change('a', 4), other)).toBe(false);
  }
});
