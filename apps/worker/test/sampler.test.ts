import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Sampler } from '../src/sampler.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function counting() {
  let looks = 0;
  const gate = { open: Promise.resolve() };
  const sampler = new Sampler(async () => {
    looks++;
    const mine = looks;
    await gate.open;
    return mine;
  });
  return { sampler, gate, looks: () => looks };
}

test('those who ask together wait for one look; within a second they are told of it', async () => {
  const { sampler, looks } = counting();
  expect(await Promise.all(Array.from({ length: 500 }, () => sampler.sample()))).toEqual(Array(500).fill(1));
  vi.advanceTimersByTime(999);
  expect(await sampler.sample()).toBe(1);
  expect(looks()).toBe(1);
});

test('after that the first who asks has it looked again, and nobody waits for it', async () => {
  const { sampler, gate, looks } = counting();
  await sampler.sample();
  vi.advanceTimersByTime(1_000);
  const { promise, resolve } = Promise.withResolvers<void>();
  gate.open = promise;
  expect(await Promise.all([sampler.sample(), sampler.sample()])).toEqual([1, 1]);
  expect(looks()).toBe(2);
  resolve();
  await promise;
  await Promise.resolve();
  await Promise.resolve();
  expect(await sampler.sample()).toBe(2);
});

test('what is older than five seconds is told to nobody; a failure is told, and looked at again', async () => {
  let fails = false;
  let looks = 0;
  const sampler = new Sampler(async () => {
    looks++;
    if (fails) throw new Error('away');
    return looks;
  });
  expect(await sampler.sample()).toBe(1);
  vi.advanceTimersByTime(5_000);
  fails = true;
  await expect(sampler.sample()).rejects.toThrow('away');
  fails = false;
  expect(await sampler.sample()).toBe(3);
});
