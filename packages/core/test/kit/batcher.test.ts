import { describe, expect, test } from 'vitest';
import { manualClock } from '../../src/faults/index.js';
import { Batcher, type BatcherOptions } from '../../src/kit/batcher.js';
import { turns } from '../support/shop.js';

const TIMEOUT_MS = 100;

/** Batches as they were sent, each held until the test answers it with its own numbers. */
function batcher(options: Partial<BatcherOptions<number, number>> = {}, weigh?: (item: number) => number) {
  const clock = manualClock();
  const batches: number[][] = [];
  const answers: (() => void)[] = [];
  const told: (number | string)[] = [];
  const made = new Batcher<number, number>({
    waitsForTurn: 'never',
    maxItems: 4,
    clock,
    timeoutMs: TIMEOUT_MS,
    late: () => new Error('late'),
    errorOf: (error) => error as Error,
    call: (items) => {
      batches.push([...items]);
      return new Promise((resolve) => answers.push(() => resolve([...items])));
    },
    ...options,
  });
  const add = async (...items: number[]): Promise<void> => {
    for (const item of items) {
      made.add(item, (answer) => told.push(answer instanceof Error ? answer.message : answer), weigh?.(item));
    }
    await turns();
  };
  const answer = async (): Promise<void> => {
    answers.shift()?.();
    await turns();
  };
  return { batches, clock, made, told, add, answer };
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
    const { add, answer, batches } = batcher({ maxBytes: 10 }, (item) => item);
    await add(4, 6, 5, 50, 1, 2);
    expect(batches).toEqual([[4, 6], [5], [50]]);
    await answer();
    await answer();
    expect(batches).toHaveLength(3);
    await answer();
    expect(batches.slice(3)).toEqual([[1, 2]]);
  });

  test('keeps a batch together, and in its place, in parts of the size and weight that calls have', async () => {
    const { add, answer, batches, made } = batcher({ maxBytes: 100, maxItemsInFlight: 4 });
    await add(1);
    made.add(2, () => undefined);
    const many = made.addMany(range(10, 15), (item) => (item === 11 ? 99 : 1));
    made.add(3, () => undefined);
    await turns();
    for (let i = 0; i < 4; i++) await answer();
    expect(batches).toEqual([[1], [2], [10, 11], range(12, 15), [3]]);
    expect(await many).toEqual(range(10, 15));
    expect(await made.addMany([], () => 1)).toEqual([]);
  });

  test('sends a request that equals one that waits but once, and one that was sent again', async () => {
    const { add, answer, batches, told } = batcher({ merges: true });
    await add(1, 2, 1, 3, 4, 5, 1, 5);
    expect(batches).toEqual([range(1, 4), [5]]);
    await add(1);
    await answer();
    await answer();
    await answer();
    expect(batches.slice(2)).toEqual([[1]]);
    expect(told).toEqual([1, 1, 1, 2, 3, 4, 5, 5, 1]);
  });

  test('answers what no call answered in time, once, and goes on', async () => {
    const { add, answer, clock, made, told } = batcher({ maxInFlight: 1 });
    await add(1);
    const many = made.addMany([2, 3], () => 1);
    clock.advance(TIMEOUT_MS);
    await turns();
    await answer();
    await answer();
    expect(told).toEqual(['late']);
    expect(await many).toEqual([2, 3]);
  });

  test('gives each call its whole time, whichever one its timer was set for', async () => {
    const { add, answer, clock, told } = batcher();
    await add(1);
    clock.advance(60);
    await add(2);
    await answer();
    clock.advance(TIMEOUT_MS - 1);
    await turns();
    expect(told).toEqual([1]);
    clock.advance(1);
    await turns();
    expect(told).toEqual([1, 'late']);
  });

  test('that waits for neighbours while a call is under way sends half a call at once', async () => {
    const { add, batches, made } = batcher({ waitsForTurn: 'busy' });
    await add(1);
    const thisTick = (): Promise<void> => new Promise((resolve) => process.nextTick(resolve));
    made.add(2, () => undefined);
    await thisTick();
    expect(batches).toEqual([[1]]);
    made.add(3, () => undefined);
    await thisTick();
    expect(batches).toEqual([[1], [2, 3]]);
  });

  test.each([
    [
      'throws',
      () => {
        throw new Error('thrown');
      },
      'thrown',
    ],
    ['rejects', () => Promise.reject(new Error('rejected')), 'rejected'],
    ['gives no list', async () => undefined as never, 'no list of answers'],
  ])('whose call %s tells its callers', async (_, call, message) => {
    const { add, made, told } = batcher({ call });
    await add(1, 2);
    expect(told).toEqual([message, message]);
    expect(await made.addMany([3], () => 1)).toMatchObject([{ message }]);
  });

  test('refuses what is too much to wait, never at once', async () => {
    const { add, made, told } = batcher({
      maxInFlight: 1,
      maxWaiting: 2,
    });
    await add(1);
    await add(2, 3);
    made.add(4, (answer) => told.push(String(answer)));
    expect(told).toEqual([]);
    await turns();
    expect(told).toEqual(['Error: more than 2 requests wait']);
    expect(await made.addMany([5], () => 1)).toMatchObject([{ message: 'more than 2 requests wait' }]);
  });
});
