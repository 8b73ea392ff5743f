import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { manualClock } from '../../src/faults/manual-clock.js';
import { Deadline, type DeadlineOptions, sleep, withTimeout } from '../../src/kit/wait.js';
import { turns } from '../support/shop.js';

const LATE = new Error('late');

/** A signal that counts whoever listens to it. */
function countingSignal() {
  const controller = new AbortController();
  const { signal } = controller;
  const listening = new Set<unknown>();
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  vi.spyOn(signal, 'addEventListener').mockImplementation((...args: Parameters<typeof add>) => {
    listening.add(args[1]);
    add(...args);
  });
  vi.spyOn(signal, 'removeEventListener').mockImplementation((...args: Parameters<typeof remove>) => {
    listening.delete(args[1]);
    remove(...args);
  });
  return { controller, signal, listening };
}

function setUp(options: Partial<DeadlineOptions> = {}) {
  const clock = manualClock();
  const { controller, listening, signal } = countingSignal();
  const deadline = new Deadline({ clock, timeoutMs: 100, signal, late: () => LATE, ...options });
  /** Nothing is left behind. */
  const expectClean = (): void => {
    expect(clock.pending).toBe(0);
    expect([...listening]).toEqual([]);
  };
  return { clock, controller, deadline, expectClean, listening };
}

async function outcomeOf(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
}

describe('a deadline', () => {
  test('gives the outcome of work that ends in time, whatever it is', async () => {
    const { deadline, expectClean } = setUp();
    expect(await deadline.bound(Promise.resolve(1))).toBe(1);
    expect(await outcomeOf(deadline.bound(Promise.reject(new Error('own'))))).toEqual({
      error: new Error('own'),
    });
    expectClean();
  });

  test('ends what has not ended, by the clock and not a moment before', async () => {
    const { clock, deadline, expectClean } = setUp();
    const work = Promise.withResolvers<number>();
    const outcome = outcomeOf(deadline.bound(work.promise));
    let over = false;
    outcome.then(() => {
      over = true;
    });
    clock.advance(99);
    await turns();
    expect(over).toBe(false);
    clock.advance(1);
    expect(await outcome).toEqual({ error: LATE });
    expectClean();
    // Late outcomes are dropped, and no rejection goes unhandled.
    work.reject(new Error('late answer'));
    await turns();
  });

  test('is one end for all waits of a call', async () => {
    const { clock, deadline } = setUp();
    const first = Promise.withResolvers<void>();
    const waiting = deadline.bound(first.promise);
    clock.advance(60);
    first.resolve();
    await waiting;
    expect(deadline.remainingMs).toBe(40);
    const second = outcomeOf(deadline.bound(new Promise(() => undefined)));
    clock.advance(40);
    expect(await second).toEqual({ error: LATE });
    expect(deadline.remainingMs).toBe(0);
    expect(() => deadline.throwIfOver()).toThrow(LATE);
  });

  test('ends with its signal, with its reason or what is made of it', async () => {
    for (const aborted of [undefined, (reason: unknown) => new Error(`made of ${String(reason)}`)]) {
      const { controller, deadline, expectClean } = setUp({ aborted });
      const outcome = outcomeOf(deadline.bound(new Promise(() => undefined)));
      deadline.throwIfOver();
      controller.abort('enough');
      const error = aborted === undefined ? 'enough' : new Error('made of enough');
      expect(await outcome).toEqual({ error });
      expectClean();
      // What comes afterwards is over before it has begun.
      expect(await outcomeOf(deadline.bound(Promise.reject(new Error('own'))))).toEqual({ error });
      expect(() => deadline.throwIfOver()).toThrow(aborted === undefined ? 'enough' : 'made of enough');
      expectClean();
    }
  });

  test('without a time-out ends with its signal only, and sets no timer', async () => {
    const { clock, controller, deadline, expectClean } = setUp({ timeoutMs: Number.POSITIVE_INFINITY });
    const outcome = outcomeOf(deadline.bound(new Promise(() => undefined)));
    expect(clock.pending).toBe(0);
    clock.advance(1e9);
    deadline.throwIfOver();
    controller.abort('enough');
    expect(await outcome).toEqual({ error: 'enough' });
    expectClean();
  });

  test('narrowed ends no later than itself, and no later than the deadline that it was made of', async () => {
    const { clock, deadline } = setUp();
    const sooner = new Error('sooner');
    expect(deadline.narrowed(30).remainingMs).toBe(30);
    expect(deadline.narrowed(1_000).remainingMs).toBe(100);
    clock.advance(80);
    const narrowed = deadline.narrowed(50, () => sooner);
    expect(narrowed.remainingMs).toBe(20);
    const outcome = outcomeOf(narrowed.bound(new Promise(() => undefined)));
    clock.advance(20);
    expect(await outcome).toEqual({ error: sooner });
  });

  test('tells a server a little less than is left, and never 0, which would mean for ever', () => {
    const { clock, deadline } = setUp({ timeoutMs: 10_000 });
    expect(deadline.serverMs).toBe(9_950);
    clock.advance(9_900);
    expect(deadline.serverMs).toBe(90);
    clock.advance(200);
    expect(deadline.serverMs).toBe(1);
  });

  test('aborts the signal of work that takes one, at the end and for no other reason', async () => {
    const { clock, deadline, expectClean } = setUp();
    const seen: AbortSignal[] = [];
    expect(await deadline.run(async (signal) => seen.push(signal))).toBe(1);
    clock.advance(99);
    expect(seen[0]?.aborted).toBe(false);
    const outcome = outcomeOf(
      deadline.run(async (signal) => {
        seen.push(signal);
        await new Promise(() => undefined);
      }),
    );
    clock.advance(1);
    expect(await outcome).toEqual({ error: LATE });
    expect(seen[1]?.reason).toBe(LATE);
    expect(seen[0]?.aborted).toBe(false);
    expectClean();
  });

  test('work that throws before it waits leaves nothing behind', async () => {
    const { deadline, expectClean } = setUp();
    const thrown = deadline.run(() => {
      throw new Error('at once');
    });
    expect(await outcomeOf(thrown)).toEqual({ error: new Error('at once') });
    expectClean();
  });

  test('property: whatever comes first decides, once, and no timer and no listener stays', async () => {
    const event = fc.record({
      atMs: fc.integer({ min: 0, max: 20 }),
      kind: fc.constantFrom('resolve' as const, 'reject' as const, 'abort' as const),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(event, { maxLength: 4 }),
        fc.integer({ min: 1, max: 20 }),
        async (events, timeoutMs) => {
          const { clock, controller, deadline, expectClean } = setUp({ timeoutMs });
          const work = Promise.withResolvers<string>();
          const outcomes: unknown[] = [];
          deadline.bound(work.promise).then(
            (value) => outcomes.push(value),
            (error: unknown) => outcomes.push(error),
          );
          const inOrder = events.toSorted((a, b) => a.atMs - b.atMs);
          for (let ms = 0; ms <= 20; ms++) {
            for (const { kind } of inOrder.filter(({ atMs }) => atMs === ms)) {
              if (kind === 'resolve') work.resolve('resolve');
              else if (kind === 'reject') work.reject('reject');
              else controller.abort('abort');
              await turns(1);
            }
            clock.advance(1);
            await turns(1);
          }
          const [first] = inOrder;
          const expected = first !== undefined && first.atMs < timeoutMs ? first.kind : LATE;
          expect(outcomes).toEqual([expected]);
          expectClean();
        },
      ),
      { numRuns: 200 },
    );
  });
});

describe('a pause', () => {
  test('ends by the clock or with its signal, and leaves nothing behind', async () => {
    const { clock, controller, expectClean, deadline } = setUp();
    const paused = sleep(clock, 50, deadline.signal);
    clock.advance(50);
    await paused;
    expectClean();
    const aborted = sleep(clock, 50, deadline.signal);
    controller.abort();
    await aborted;
    await sleep(clock, 50, deadline.signal);
    expectClean();
  });
});

describe('a real event loop that is held up', () => {
  const TIMEOUT_MS = 20;

  function holdUp(ms: number): void {
    const untilMs = performance.now() + ms;
    while (performance.now() < untilMs);
  }

  /** What comes of a call that begins once its answer is on its way, while the loop is held up until after its time. */
  async function asked<T>(ask: (answer: Promise<string>) => Promise<T>): Promise<T> {
    const { promise: outcome, reject, resolve } = Promise.withResolvers<T>();
    const server = createServer((serving) => {
      serving.setNoDelay().once('data', (data) => {
        serving.write(data);
        ask(answer).then(resolve, reject);
        holdUp(3 * TIMEOUT_MS);
      });
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const socket = connect(port, '127.0.0.1').setNoDelay();
    const answer = once(socket, 'data').then(([data]) => String(data));
    socket.write('answer');
    try {
      await answer;
      return await outcome;
    } finally {
      socket.destroy();
      server.close();
    }
  }

  test('does not fail a call whose answer has arrived', async () => {
    const deadlines: Deadline[] = [];
    const ask = (answer: Promise<string>): Promise<string> => {
      const deadline = new Deadline({ timeoutMs: TIMEOUT_MS, late: () => LATE });
      deadlines.push(deadline);
      return deadline.bound(answer);
    };
    expect(await asked(ask)).toBe('answer');
    // Its time is over all the same: nothing more is to be sent.
    expect(() => deadlines[0]?.throwIfOver()).toThrow(LATE);
  });

  test('does not abort the signal of work whose answer has arrived', async () => {
    let signal: AbortSignal | undefined;
    const run = (answer: Promise<string>): Promise<string> =>
      new Deadline({ timeoutMs: TIMEOUT_MS, late: () => LATE }).run((given) => {
        signal = given;
        return answer;
      });
    expect(await asked(run)).toBe('answer');
    expect(signal?.aborted).toBe(false);
  });

  test('control: a bare timer fails it', async () => {
    const bare = (answer: Promise<string>): Promise<string> =>
      Promise.race([
        answer,
        new Promise<string>((resolve) => {
          setTimeout(() => resolve('late'), TIMEOUT_MS);
        }),
      ]);
    expect(await asked(bare)).toBe('late');
  });
});

test('a single wait is bounded in one call', async () => {
  const clock = manualClock();
  expect(await withTimeout(clock, Promise.resolve(1), 10, () => LATE)).toBe(1);
  const outcome = outcomeOf(withTimeout(clock, new Promise(() => undefined), 10, () => LATE));
  clock.advance(10);
  expect(await outcome).toEqual({ error: LATE });
  expect(clock.pending).toBe(0);
});
