import { describe, expect, test } from 'vitest';
import { Batcher, type BatcherOptions, nextTick } from '../../src/kit/batcher.js';
import { turns } from '../support/shop.js';

/** Batches as they were handed over, each held until the test answers it. */
function batcher(options: Partial<BatcherOptions<number>>) {
  const batches: number[][] = [];
  const answers: (() => void)[] = [];
  const made = new Batcher<number>({
    tick: nextTick,
    maxItems: 4,
    run: (items) => {
      batches.push([...items]);
      return new Promise((resolve) => answers.push(resolve));
    },
    ...options,
  });
  const add = async (...items: number[]): Promise<void> => {
    for (const item of items) made.add(item);
    await turns();
  };
  const answer = async (): Promise<void> => {
    answers.shift()?.();
    await turns();
  };
  return { batches, made, add, answer };
}

const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index);

describe('a batcher', () => {
  test('has no more items under way than it may, and sends the others, in order, as answers come', async () => {
    const { add, answer, batches, made } = batcher({ maxItemsInFlight: 8 });
    await add(...range(1, 18));
    expect(batches).toEqual([range(1, 4), range(5, 8)]);
    expect(made.waiting).toBe(10);
    await answer();
    expect(batches.slice(2)).toEqual([range(9, 12)]);
    await answer();
    await answer();
    await answer();
    expect(batches.flat()).toEqual(range(1, 18));
    expect(made.waiting).toBe(0);
  });

  test('counts items, not batches: small ones are not kept waiting', async () => {
    const { add, batches } = batcher({ maxItemsInFlight: 8 });
    for (const item of range(1, 8)) await add(item);
    expect(batches).toEqual(range(1, 8).map((item) => [item]));
    await add(9);
    expect(batches).toHaveLength(8);
  });

  test('keeps batches within their bytes, one item alone whatever it weighs, and twice that under way', async () => {
    const { add, answer, batches } = batcher({ bytesOf: (item) => item, maxBytes: 10 });
    await add(4, 6, 5, 50, 1, 2);
    expect(batches).toEqual([[4, 6], [5], [50]]);
    await answer();
    await answer();
    expect(batches).toHaveLength(3);
    await answer();
    expect(batches.slice(3)).toEqual([[1, 2]]);
  });
});
