import { inspect } from 'node:util';
import { type DeadLetter, JobRefusedError, QueueUnavailableError } from '@lockstep/core';
import { expectEqual, expectRejection, expectThat } from '../kit/expect.js';
import { bounded } from '../kit/runner.js';
import { invalidation, type QueueCase, type QueueContext } from './context.js';
import type { QueueHook } from './under-test.js';

/** Sends jobs that fail for good, one after the other, and waits for their dead letters. */
async function bury(c: QueueContext, keys: readonly string[]): Promise<void> {
  const recorder = await c.consume(() => {
    throw new Error('beyond repair');
  });
  for (const [n, key] of keys.entries()) {
    await c.queue.enqueue([invalidation(key, 10 + n)]);
    await c.eventually(`dead letter ${n}`, async () => (await c.queue.deadLetters.list()).length > n);
  }
  await recorder.close();
}

/** Retries, dead letters, ends, bounds. */
export function failureCases(test: QueueCase, hooks: readonly QueueHook[]): void {
  test('retry: a job that fails is tried again until it succeeds, and each failure is told (G9)', async (c) => {
    const key = c.key();
    const fails = Math.min(2, c.underTest.attempts - 1);
    let tries = 0;
    const recorder = await c.consume(() => {
      tries += 1;
      if (tries <= fails) throw new Error(`failure ${tries}`);
    });
    await c.queue.enqueue([invalidation(key, 10)]);
    await c.eventually('the job succeeds', () => recorder.handled.length > 0);
    expectEqual(recorder.handled[0], invalidation(key, 10), 'the job that succeeded');
    await c.eventually('onError is told of each failure', () => recorder.errors.length >= fails);
    expectEqual((await c.queue.deadLetters.list()).length, 0, 'the number of dead letters');
  });

  test('retry: a higher version that arrives meanwhile is not lost (G9)', async (c) => {
    const key = c.key();
    let tries = 0;
    const recorder = await c.consume(() => {
      tries += 1;
      if (tries === 1) throw new Error('once');
    });
    await c.queue.enqueue([invalidation(key, 10)]);
    await c.eventually('the first try fails', () => recorder.errors.length > 0);
    await c.queue.enqueue([invalidation(key, 20)]);
    await c.eventually('version 20 is handed over', () =>
      recorder.handled.some((job) => job.kind === 'invalidate' && job.version === 20),
    );
  });

  test('retry: a failing job does not keep the others from running (G9)', async (c) => {
    const [bad, good] = [c.key(), c.key()];
    const recorder = await c.consume(
      (job) => {
        if (job.key === bad) throw new Error('bad');
      },
      { concurrency: 1 },
    );
    await c.queue.enqueue([invalidation(bad, 10), invalidation(good, 10)]);
    await c.eventually('the good job is handled', () => recorder.handled.some(({ key }) => key === good));
  });

  test('dead letters: a job that failed for good is kept with its error and attempts (G9)', async (c) => {
    const key = c.key();
    await bury(c, [key]);
    const [letter] = await c.queue.deadLetters.list();
    expectThat(letter !== undefined, 'there must be a dead letter');
    expectEqual(letter.job, invalidation(key, 10), "the dead letter's job");
    expectEqual(letter.attempts, c.underTest.attempts, "the dead letter's attempts");
    expectThat(
      letter.error.includes('beyond repair'),
      `its error must be told, got ${inspect(letter.error)}`,
    );
    expectThat(
      letter.failedAtMs > 0 && letter.id.length > 0,
      `it must have a time and an id, got ${inspect(letter)}`,
    );
    expectEqual((await c.queue.status()).dead, 1, 'the number of dead letters in status()');
  });

  test('dead letters: a job whose handler refuses it is not tried again, and is kept as the handler says (G9)', async (c) => {
    const key = c.key();
    const flush = { kind: 'flush', collection: 'products', key } as const;
    const refused = { version: 11, payload: '{"stock":-1}', encoding: 'utf8' } as const;
    const recorder = await c.consume(() => {
      throw new JobRefusedError('not this one', { ...flush, refused });
    });
    await c.queue.enqueue([flush]);
    await c.eventually('its dead letter', async () => (await c.queue.deadLetters.list()).length > 0);
    const [letter] = await c.queue.deadLetters.list();
    expectEqual(letter?.job, { ...flush, refused } as never, "the dead letter's job");
    expectThat(
      letter?.error.includes('not this one') === true,
      `its error must be told, got ${inspect(letter)}`,
    );
    expectEqual(recorder.started.length, 1, 'the number of tries');
    await recorder.close();
    const again = await c.consume();
    await c.queue.enqueue([flush]);
    await c.queue.deadLetters.replay();
    await c.eventually('a new job of the key and the replayed one run', () => again.handled.length >= 2);
    expectThat(
      again.handled.some((job) => job.kind === 'flush' && job.refused?.payload === refused.payload),
      `the replayed job must have what was refused, got ${inspect(again.handled)}`,
    );
  });

  test('dead letters: a job that arrives while one of its key is being refused runs all the same (G9)', async (c) => {
    const key = c.key();
    const flush = { kind: 'flush', collection: 'products', key } as const;
    const refused = { version: 11, payload: null, encoding: 'utf8' } as const;
    const [started, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const recorder = await c.consume(async () => {
      if (recorder.started.length > 1) return;
      started.resolve();
      await go.promise;
      throw new JobRefusedError('not this one', { ...flush, refused });
    });
    await c.queue.enqueue([flush]);
    await started.promise;
    await c.queue.enqueue([flush]);
    await c.queue.enqueue([flush]);
    go.resolve();
    await c.eventually('the newer job runs', () => recorder.handled.length > 0);
    expectEqual(recorder.handled[0], flush, 'the newer job');
    expectEqual(recorder.most.ofOneKey, 1, 'the most handlers of one key at once');
    await c.eventually('its dead letter', async () => (await c.queue.deadLetters.list()).length > 0);
    const letters = await c.queue.deadLetters.list();
    expectEqual(letters.map(({ job }) => job) as unknown[], [{ ...flush, refused }], 'the dead letters');
  });

  test('dead letters: a refused job that is replayed has what was refused, and may be refused again (G9)', async (c) => {
    const flush = { kind: 'flush', collection: 'products', key: c.key() } as const;
    const refused = { version: 11, payload: 'AAEC', encoding: 'base64' } as const;
    const recorder = await c.consume((job) => {
      throw new JobRefusedError(
        `try ${recorder.started.length}`,
        job.kind === 'flush' && job.refused !== undefined ? job : { ...flush, refused },
      );
    });
    await c.queue.enqueue([flush]);
    const { deadLetters } = c.queue;
    for (const times of [1, 2, 3]) {
      await c.eventually(`dead letter ${times}`, async () =>
        (await deadLetters.list()).some(({ error }) => error.includes(`try ${times}`)),
      );
      const letters = await deadLetters.list();
      expectEqual(letters.map(({ job }) => job) as unknown[], [{ ...flush, refused }], 'the dead letters');
      expectEqual(recorder.started.length, times, 'the number of tries');
      expectEqual(recorder.started[times - 1], times === 1 ? flush : { ...flush, refused }, 'the job tried');
      if (times < 3) expectEqual(await deadLetters.replay([letters[0]?.id ?? '']), 1, 'the number replayed');
    }
  });

  test('dead letters: newest first, by page', async (c) => {
    const keys = [c.key(), c.key(), c.key()];
    await bury(c, keys);
    const { deadLetters } = c.queue;
    const order = (letters: readonly DeadLetter[]): string[] =>
      letters.map(({ job }) => (job.kind === 'unreadable' ? job.raw : job.key));
    expectEqual(order(await deadLetters.list()), [...keys].reverse(), 'all of them');
    expectEqual(order(await deadLetters.list({ limit: 1 })), [keys[2]], 'the first page of one');
    expectEqual(
      order(await deadLetters.list({ offset: 1, limit: 5 })),
      [keys[1], keys[0]],
      'what is after it',
    );
  });

  test('dead letters: replayed ones run again, one by id or all', async (c) => {
    const keys = [c.key(), c.key(), c.key()];
    await bury(c, keys);
    const { deadLetters } = c.queue;
    const [newest] = await deadLetters.list({ limit: 1 });
    expectEqual(await deadLetters.replay(['no-such-id']), 0, 'a replay of an unknown id');
    const recorder = await c.consume();
    expectEqual(await deadLetters.replay([newest?.id ?? '']), 1, 'a replay of one');
    await c.eventually('the replayed job runs', () => recorder.handled.some(({ key }) => key === keys[2]));
    expectEqual((await deadLetters.list()).length, 2, 'the number of letters left');
    expectEqual(await deadLetters.replay(), 2, 'a replay of all');
    await c.eventually('all replayed jobs run', () =>
      keys.every((key) => recorder.handled.some((job) => job.key === key)),
    );
    expectEqual((await deadLetters.list()).length, 0, 'the number of letters left');
  });

  test('dead letters: a replayed job gets all its attempts, and may die again', async (c) => {
    await bury(c, [c.key()]);
    await c.queue.deadLetters.replay();
    const recorder = await c.consume(() => {
      throw new Error('still');
    });
    await c.eventually('it dies again', async () => (await c.queue.deadLetters.list()).length > 0);
    expectEqual(recorder.started.length, c.underTest.attempts, 'the number of tries after the replay');
  });

  test('dead letters: discarded ones are forgotten, one by id or all', async (c) => {
    await bury(c, [c.key(), c.key(), c.key()]);
    const { deadLetters } = c.queue;
    const [newest] = await deadLetters.list({ limit: 1 });
    expectEqual(await deadLetters.discard([newest?.id ?? '']), 1, 'one discarded');
    expectEqual((await deadLetters.list()).length, 2, 'the number of letters left');
    expectEqual(await deadLetters.discard(), 2, 'all discarded');
    expectEqual(await deadLetters.replay(), 0, 'a replay of nothing');
  });

  test('dead letters: a new job of a key that has one is not swallowed (G9)', async (c) => {
    const key = c.key();
    await bury(c, [key]);
    const recorder = await c.consume();
    for (const version of [10, 20]) {
      await c.queue.enqueue([invalidation(key, version)]);
      await c.eventually(`version ${version} is handed over`, () =>
        recorder.handled.some((job) => job.kind === 'invalidate' && job.version === version),
      );
    }
  });

  test('holds: tells which of some jobs wait, by their identities', async (c) => {
    if (c.queue.holds === undefined) return;
    const [waiting, other] = [invalidation(c.key(), 10), invalidation(c.key(), 10)];
    await c.queue.enqueue([waiting]);
    expectEqual(await c.queue.holds([{ ...waiting, version: 0 }, other]), 1, 'jobs that wait');
    expectEqual(await c.queue.holds([other]), 0, 'jobs that were never sent');
  });

  test('status: counts what waits and what is active', async (c) => {
    expectEqual(await c.queue.status(), { waiting: 0, active: 0, delayed: 0, dead: 0 }, 'an empty queue');
    const go = Promise.withResolvers<void>();
    await c.queue.enqueue([c.key(), c.key(), c.key()].map((key) => invalidation(key, 10)));
    expectEqual((await c.queue.status()).waiting, 3, 'waiting jobs');
    await c.consume(() => go.promise, { concurrency: 1 });
    await c.eventually('one is active', async () => {
      const { waiting, active } = await c.queue.status();
      return waiting === 2 && active === 1;
    });
    go.resolve();
    await c.eventually('nothing is left', async () => {
      const { waiting, active, delayed } = await c.queue.status();
      return waiting + active + delayed === 0;
    });
  });

  test('close: a consumer finishes what is under way and takes nothing new (G9)', async (c) => {
    const go = Promise.withResolvers<void>();
    const recorder = await c.consume(
      async () => {
        await go.promise;
        // Long enough for a close that does not wait to be over first.
        await new Promise((resolve) => setTimeout(resolve, 50));
      },
      { concurrency: 1 },
    );
    const jobs = [invalidation(c.key(), 10), invalidation(c.key(), 10)];
    await c.queue.enqueue(jobs);
    await c.eventually('the first job is under way', () => recorder.started.length > 0);
    const closed = recorder.close();
    go.resolve();
    await closed;
    expectEqual(recorder.handled.length, 1, 'the jobs done when close resolved');
    const next = await c.consume();
    await c.queue.enqueue([invalidation(c.key(), 10)]);
    await c.eventually('the next consumer gets the other jobs', () => next.handled.length === 2);
    expectEqual(recorder.started.length, 1, 'the jobs that the closed consumer began');
  });

  test('close: may be called twice, and calls after it reject', async (c) => {
    await c.queue.close();
    await c.queue.close();
    await expectRejection(c.queue.enqueue([invalidation(c.key(), 10)]), 'enqueue after close');
  });

  if (hooks.includes('second')) {
    test('two clients: what one sends the other handles, one key at a time (G9)', async (c) => {
      const { second } = c.underTest;
      expectThat(second !== undefined, 'the factory must give second, since options.hooks names it');
      const [here, there] = [await c.consume(), await c.consume(undefined, { queue: second })];
      const jobs = Array.from({ length: 60 }, (_, n) => invalidation(c.key(), n + 1));
      await Promise.all([c.queue.enqueue(jobs.slice(0, 30)), second.enqueue(jobs.slice(30))]);
      for (const job of jobs) {
        await c.eventually(`${job.key} is handled by one of two consumers`, () =>
          [...here.handled, ...there.handled].some(({ key }) => key === job.key),
        );
      }
    });
  }

  if (hooks.includes('limit')) {
    test('bounded: beyond its limit the queue refuses with QueueUnavailableError, and recovers', async (c) => {
      const { limit } = c.underTest;
      expectThat(limit !== undefined, 'the factory must give limit, since options.hooks names it');
      const jobs = Array.from({ length: limit }, (_, n) => invalidation(c.key(), n + 1));
      await c.queue.enqueue(jobs);
      const refused = await expectRejection(
        c.queue.enqueue([invalidation(c.key(), 10)]),
        'enqueue beyond the limit',
      );
      expectThat(
        refused instanceof QueueUnavailableError,
        `it must be QueueUnavailableError, got ${inspect(refused)}`,
      );
      const recorder = await c.consume();
      await c.eventually('all that it took are handled', () => recorder.handled.length >= limit);
      await c.queue.enqueue([invalidation(c.key(), 10)]);
      await c.eventually('another one is handled', () => recorder.handled.length > limit);
    });
  }

  if (hooks.includes('makeUnavailable')) {
    test('unavailable: enqueue rejects with QueueUnavailableError in time', async (c) => {
      const makeUnavailable = c.underTest.makeUnavailable?.bind(c.underTest);
      expectThat(
        makeUnavailable !== undefined,
        'the factory must give makeUnavailable, since options.hooks names it',
      );
      await makeUnavailable();
      const refused = expectRejection(
        c.queue.enqueue([invalidation(c.key(), 10)]),
        'enqueue without a server',
      );
      const error = await bounded('enqueue without a server', c.deadlineMs, refused);
      expectThat(
        error instanceof QueueUnavailableError,
        `it must be QueueUnavailableError, got ${inspect(error)}`,
      );
    });
  }
}
