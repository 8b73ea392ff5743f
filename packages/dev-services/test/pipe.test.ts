import type { Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { afterEach, expect, test, vi } from 'vitest';
import { Pipe, type PipeFaults } from '../src/proxy/pipe.js';

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

test('late chunks keep their order when the process stands still between two looks at the clock', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  const [from, to] = [new PassThrough(), new PassThrough()];
  const faults: PipeFaults = { mode: 'pass', delayMs: 20, budget: undefined };
  new Pipe(from as unknown as Socket, to as unknown as Socket, faults, () => undefined);
  const texts = Array.from({ length: 50 }, (_, i) => `${i} `);
  const now = performance.now.bind(performance);
  let looks = 0;
  // Every third look is 0.9 ms later than the clock of the timers.
  vi.spyOn(performance, 'now').mockImplementation(() => now() + (++looks % 3 === 0 ? 0.9 : 0));
  for (const [i, text] of texts.entries()) {
    from.emit('data', Buffer.from(text));
    if (i % 10 === 9) faults.delayMs -= 3;
    if (i % 4 === 3) vi.advanceTimersByTime(1);
  }
  expect(to.readableLength).toBe(0);
  vi.advanceTimersByTime(100);
  expect(String(to.read())).toBe(texts.join(''));
});

test('what comes behind a reset does not arrive', () => {
  const [from, to] = [new PassThrough(), new PassThrough()];
  let resets = 0;
  const faults: PipeFaults = { mode: 'pass', delayMs: 0, budget: 3 };
  new Pipe(from as unknown as Socket, to as unknown as Socket, faults, () => resets++);
  for (const text of ['ab', 'cd', 'ef']) from.emit('data', Buffer.from(text));
  expect(String(to.read())).toBe('abc');
  return vi.waitFor(() => expect(resets).toBe(1), { timeout: 60_000 });
});
