import { JobRefusedError } from '@lockstep/core';
import { startRedis } from '@lockstep/dev-services';
import { expect, test } from 'vitest';
import { bullmqQueue } from '../src/index.js';

test('dead letters: a replay of all ends, though what it replays is refused again at once', async () => {
  const redis = await startRedis({ owned: true });
  const queue = bullmqQueue({ connection: { url: redis.url }, name: 'replayed' });
  try {
    const keys = ['a', 'b', 'c'];
    let runs = 0;
    const consumer = await queue.consume(async (job) => {
      runs += 1;
      throw new JobRefusedError('refused', job);
    });
    await queue.enqueue(keys.map((key) => ({ kind: 'flush', collection: 'products', key })));
    await expect.poll(() => queue.status()).toMatchObject({ dead: 3 });
    expect(await queue.deadLetters.replay()).toBe(3);
    await expect.poll(() => queue.status()).toMatchObject({ dead: 3, waiting: 0, active: 0 });
    expect(runs).toBe(6);
    await consumer.close();
  } finally {
    await queue.close();
    await redis.stop();
  }
});
