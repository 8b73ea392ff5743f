import { memoryQueue } from '@lockstep/core/memory';
import { describe, expect, test } from 'vitest';
import { queueConformance } from '../src/index.js';
import { BROKEN_QUEUES, SOUND } from './support/broken-queues.js';
import { collect, HASTE } from './support/collect.js';

describe('the queue kit fails a queue in which', () => {
  test.concurrent.each(BROKEN_QUEUES)('$flaw', { timeout: 60_000 }, async ({ noticedBy, create }) => {
    const { failures } = await collect((runner) =>
      queueConformance({ ...runner, ...HASTE, hooks: ['limit'], create }),
    );
    const names = [...failures.keys()];
    for (const start of noticedBy) {
      expect(names, `failing cases must include "${start}…"`).toContainEqual(expect.stringContaining(start));
    }
  });

  test('nothing at all is broken: every case passes', async () => {
    const { names, failures } = await collect((runner) =>
      queueConformance({
        ...runner,
        hooks: ['limit'],
        create: () => ({ queue: memoryQueue(SOUND), attempts: 3, limit: 200 }),
      }),
    );
    expect(failures).toEqual(new Map());
    expect(names.length).toBeGreaterThan(20);
  });
});
