import { memoryQueue } from '@lockstep/core/memory';
import { describe, test } from 'vitest';
import { queueConformance } from '../src/index.js';

queueConformance({
  describe,
  test,
  name: 'the memory queue conforms',
  hooks: ['limit'],
  create: () => ({
    queue: memoryQueue({ attempts: 3, backoffMs: 10, maxBackoffMs: 50, maxJobs: 200 }),
    attempts: 3,
    limit: 200,
  }),
});
