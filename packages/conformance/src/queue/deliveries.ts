import { inspect } from 'node:util';
import type { QueueJob } from '@lockstep/core';
import { expectEqual, expectThat } from '../kit/expect.js';
import { invalidation, type QueueCase, type QueueContext, type Recorder } from './context.js';

async function handledBy(c: QueueContext, recorder: Recorder, job: QueueJob): Promise<void> {
  await c.eventually(`the queue hands over ${inspect(job)}`, () =>
    recorder.handled.some(
      (handled) =>
        handled.kind === job.kind &&
        handled.key === job.key &&
        (handled.kind !== 'invalidate' || job.kind !== 'invalidate' || handled.version === job.version) &&
        (handled.kind !== 'flush' || job.kind !== 'flush' || handled.collection === job.collection),
    ),
  );
}

/** Every job at least once, merged at most, swallowed never. */
export function deliveryCases(test: QueueCase): void {
  test('at least once: every job is handed over as it was sent (G9)', async (c) => {
    const recorder = await c.consume();
    const jobs: QueueJob[] = [
      ...Array.from({ length: 100 }, (_, n) => invalidation(c.key(), 2 * n + 2)),
      invalidation(c.key(), 0),
      invalidation(c.key(), Number.MAX_SAFE_INTEGER),
      invalidation(`${c.key()}:a:b%3A {x} "é" 😀\n`, 10),
      { kind: 'flush', collection: 'products', key: c.key() },
    ];
    await c.queue.enqueue(jobs);
    for (const job of jobs) await handledBy(c, recorder, job);
  });

  test('at least once: jobs wait for a consumer (G9)', async (c) => {
    await c.queue.enqueue([]);
    const job = invalidation(c.key(), 10);
    await c.queue.enqueue([job]);
    await handledBy(c, await c.consume(), job);
  });

  test('identity: kinds, collections and keys that differ are jobs of their own (G9)', async (c) => {
    const key = c.key();
    const jobs: QueueJob[] = [
      { kind: 'flush', collection: 'a', key },
      { kind: 'flush', collection: 'b', key },
      { kind: 'flush', collection: 'a', key: `b:${key}` },
      { kind: 'flush', collection: 'a:b', key },
      invalidation(key, 10),
      invalidation(`a:${key}`, 10),
    ];
    await c.queue.enqueue(jobs);
    const recorder = await c.consume();
    for (const job of jobs) await handledBy(c, recorder, job);
  });

  test('merging: of jobs of one key that wait the highest version stays', async (c) => {
    const key = c.key();
    for (const version of [10, 30, 20]) await c.queue.enqueue([invalidation(key, version)]);
    await handledBy(c, await c.consume(), invalidation(key, 30));
  });

  test('merging: of jobs of one key in one call the highest version stays', async (c) => {
    const key = c.key();
    await c.queue.enqueue([10, 30, 20].map((version) => invalidation(key, version)));
    await handledBy(c, await c.consume(), invalidation(key, 30));
  });

  test('merging: an unknown version counts as the highest', async (c) => {
    const [early, late] = [c.key(), c.key()];
    await c.queue.enqueue([invalidation(early, 0)]);
    await c.queue.enqueue([invalidation(early, 20), invalidation(late, 20)]);
    await c.queue.enqueue([invalidation(late, 0)]);
    const recorder = await c.consume();
    await handledBy(c, recorder, invalidation(early, 0));
    await handledBy(c, recorder, invalidation(late, 0));
  });

  test('merging: a job that arrives while one of its key is active runs after it, the same version too (G9)', async (c) => {
    for (const next of [10, 20, 8, 0]) {
      const [started, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
      const key = c.key();
      const recorder = await c.consume(async () => {
        started.resolve();
        await go.promise;
      });
      await c.queue.enqueue([invalidation(key, 10)]);
      await started.promise;
      await c.queue.enqueue([invalidation(key, next)]);
      go.resolve();
      await c.eventually(`version ${next}, sent while version 10 was active, is handed over`, () =>
        recorder.handled.slice(1).some((job) => job.kind === 'invalidate' && job.version === next),
      );
      expectEqual(recorder.most.ofOneKey, 1, 'the most handlers of one key at once');
      await recorder.close();
    }
  });

  test('merging: of several that arrive while one of their key is active the highest runs (G9)', async (c) => {
    const [started, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const key = c.key();
    const recorder = await c.consume(async () => {
      started.resolve();
      await go.promise;
    });
    await c.queue.enqueue([invalidation(key, 10)]);
    await started.promise;
    for (const version of [20, 40, 30]) await c.queue.enqueue([invalidation(key, version)]);
    go.resolve();
    await handledBy(c, recorder, invalidation(key, 40));
  });

  test('merging: a flush that arrives while one of its key is active runs after it (G9)', async (c) => {
    const [started, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const job: QueueJob = { kind: 'flush', collection: 'products', key: c.key() };
    const recorder = await c.consume(async () => {
      started.resolve();
      await go.promise;
    });
    await c.queue.enqueue([job]);
    await started.promise;
    await c.queue.enqueue([job]);
    go.resolve();
    await c.eventually('the second flush is handed over', () => recorder.handled.length >= 2);
  });

  test('at least once: a job that was handled runs again when it is sent again (G9)', async (c) => {
    const recorder = await c.consume();
    const job = invalidation(c.key(), 10);
    for (let times = 1; times <= 3; times += 1) {
      await c.queue.enqueue([job]);
      await c.eventually(
        `the job is handed over for the ${times}. time`,
        () => recorder.handled.length >= times,
      );
    }
  });

  test('concurrency: as many handlers at once as asked for, and no more', async (c) => {
    const go = Promise.withResolvers<void>();
    const recorder = await c.consume(() => go.promise, { concurrency: 3 });
    await c.queue.enqueue(Array.from({ length: 12 }, (_, n) => invalidation(c.key(), n + 1)));
    await c.eventually('three handlers run at once', () => recorder.started.length >= 3);
    go.resolve();
    await c.eventually('all are handled', () => recorder.handled.length >= 12);
    expectThat(recorder.most.all <= 3, `at most 3 handlers at once were asked for, got ${recorder.most.all}`);
  });
}
