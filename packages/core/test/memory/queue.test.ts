import { describe, expect, test } from 'vitest';
import type { QueueJob } from '../../src/contracts/queue.js';
import { ClosedError, InvalidOptionError, QueueUnavailableError } from '../../src/errors.js';
import { manualClock } from '../../src/faults/index.js';
import { type MemoryQueueOptions, memoryQueue } from '../../src/memory/index.js';

function job(key: string, version = 10): QueueJob {
  return { kind: 'invalidate', key, version };
}

const turn = (): Promise<void> => new Promise(setImmediate);

describe('the memory queue', () => {
  test('retries with doubled pauses, half of each drawn at random, and gives up after its attempts', async () => {
    const clock = manualClock();
    const queue = memoryQueue({ clock, attempts: 4, backoffMs: 100, maxBackoffMs: 300, random: () => 0.5 });
    let tries = 0;
    await queue.consume(async () => {
      tries += 1;
      throw new Error(`failure ${tries}`);
    });
    await queue.enqueue([job('a')]);
    for (const [pauseMs, expected] of [
      [75, 1],
      [150, 2],
      [225, 3],
    ] as const) {
      await turn();
      expect(tries).toBe(expected);
      expect(await queue.status()).toEqual({ waiting: 0, active: 0, delayed: 1, dead: 0 });
      clock.advance(pauseMs - 1);
      await turn();
      expect(tries).toBe(expected);
      clock.advance(1);
    }
    await turn();
    expect(tries).toBe(4);
    expect(await queue.deadLetters.list()).toEqual([
      { id: '1', job: job('a'), error: 'failure 4', attempts: 4, failedAtMs: clock.now() },
    ]);
    await queue.close();
  });

  test('refuses a call that would overfill it, whole, and counts merged jobs once', async () => {
    const queue = memoryQueue({ maxJobs: 2 });
    await queue.enqueue([job('a'), job('b')]);
    await queue.enqueue([job('a', 20), job('a', 30)]);
    await expect(queue.enqueue([job('a', 40), job('c')])).rejects.toBeInstanceOf(QueueUnavailableError);
    expect((await queue.status()).waiting).toBe(2);
    const handled: QueueJob[] = [];
    await queue.consume(async (taken) => void handled.push(taken));
    await turn();
    expect(handled).toEqual([job('a', 30), job('b')]);
    await queue.close();
  });

  test('keeps the newest dead letters', async () => {
    const queue = memoryQueue({ attempts: 1, maxDeadLetters: 2 });
    await queue.consume(async () => {
      throw new Error('no');
    });
    for (const key of ['a', 'b', 'c']) {
      await queue.enqueue([job(key)]);
      await turn();
    }
    expect((await queue.deadLetters.list()).map((letter) => letter.job)).toEqual([job('c'), job('b')]);
    await queue.close();
  });

  test('keeps dead letters whose replay finds no room', async () => {
    const queue = memoryQueue({ attempts: 1, maxJobs: 1 });
    const consumer = await queue.consume(async () => {
      throw new Error('no');
    });
    await queue.enqueue([job('dead')]);
    await turn();
    await consumer.close();
    await queue.enqueue([job('waits')]);
    await expect(queue.deadLetters.replay()).rejects.toBeInstanceOf(QueueUnavailableError);
    expect(await queue.deadLetters.list()).toHaveLength(1);
    await queue.close();
  });

  test('a fresh job that joins a retry gets all attempts anew', async () => {
    const clock = manualClock();
    const queue = memoryQueue({ clock, attempts: 2, backoffMs: 10, random: () => 0 });
    let tries = 0;
    await queue.consume(async () => {
      tries += 1;
      throw new Error('no');
    });
    await queue.enqueue([job('a')]);
    await turn();
    await queue.enqueue([job('a', 20)]);
    for (let round = 0; round < 3; round += 1) {
      clock.advance(100);
      await turn();
    }
    expect(tries).toBe(3);
    expect((await queue.deadLetters.list())[0]?.job).toEqual(job('a', 20));
    await queue.close();
  });

  test('a listener that throws costs no retry', async () => {
    const queue = memoryQueue({ backoffMs: 0, maxBackoffMs: 0 });
    const done = Promise.withResolvers<void>();
    let tries = 0;
    await queue.consume(
      async () => {
        tries += 1;
        if (tries === 1) throw new Error('once');
        done.resolve();
      },
      {
        onError() {
          throw new Error('listener');
        },
      },
    );
    await queue.enqueue([job('a')]);
    await done.promise;
    await queue.close();
  });

  test('close leaves no timer behind, and calls after it reject', async () => {
    const clock = manualClock();
    const queue = memoryQueue({ clock });
    await queue.consume(async () => {
      throw new Error('no');
    });
    await queue.enqueue([job('a')]);
    await turn();
    expect(clock.pending).toBe(1);
    await queue.close();
    expect(clock.pending).toBe(0);
    await expect(queue.enqueue([job('a')])).rejects.toBeInstanceOf(ClosedError);
    await expect(queue.consume(async () => {})).rejects.toBeInstanceOf(ClosedError);
  });

  test.each([
    [{ attempts: 0 }, 'memoryQueue.attempts'],
    [{ maxJobs: Number.NaN }, 'memoryQueue.maxJobs'],
    [{ backoff: 5 }, 'memoryQueue.backoff'],
  ])('%o is refused, naming %s', (options, option) => {
    expect(() => memoryQueue(options as MemoryQueueOptions)).toThrow(InvalidOptionError);
    expect(() => memoryQueue(options as MemoryQueueOptions)).toThrow(option);
  });

  test('a consumer’s concurrency is checked', async () => {
    const queue = memoryQueue();
    await expect(queue.consume(async () => {}, { concurrency: 0 })).rejects.toThrow('queue.concurrency');
  });
});
