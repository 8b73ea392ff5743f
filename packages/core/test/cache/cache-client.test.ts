import { describe, expect, test } from 'vitest';
import { CacheClient } from '../../src/cache/client.js';
import type { CacheAdapter } from '../../src/contracts/cache.js';
import type { CacheCommand, CacheHit, InvalidateCommand } from '../../src/contracts/cache-commands.js';
import { manualClock } from '../../src/faults/index.js';
import { memoryCache } from '../../src/memory/index.js';
import { EventHub } from '../../src/runtime/events.js';
import { turns } from '../support/shop.js';

const TIMEOUT_MS = 100;
const MIB = 2 ** 20;

/** A client of a cache that has a value of `bytes` at every key, with what it is asked for in one call. */
function clientOf(bytes: number) {
  const clock = manualClock();
  const hit: CacheHit = { version: 1, payload: 'x'.repeat(bytes), staleAtMs: 0 };
  const reads: number[] = [];
  const commands: CacheCommand[][] = [];
  let answers = true;
  const adapter: CacheAdapter = {
    ...memoryCache({ clock }),
    async read(keys) {
      reads.push(keys.length);
      return answers ? keys.map(() => hit) : new Promise(() => undefined);
    },
    async execute(some) {
      commands.push([...some]);
      return some.map(() => ({ kind: 'put', outcome: 'stored' }));
    },
  };
  const client = new CacheClient(adapter, {
    prefix: 'wtc::',
    drained: async () => true,
    timeoutMs: TIMEOUT_MS,
    breaker: { threshold: 100, cooldownMs: 100 },
    clock,
    events: new EventHub(),
  });
  const readAll = async (count: number): Promise<number[]> => {
    reads.length = 0;
    const keys = Array.from({ length: count }, (_, i) => String(i));
    let over = false;
    const reading = Promise.allSettled(keys.map((key) => client.read(key, 'utf8'))).then(() => {
      over = true;
    });
    while (!over) {
      await turns();
      if (!answers) clock.advance(TIMEOUT_MS);
    }
    await reading;
    return [...reads];
  };
  return {
    client,
    clock,
    commands,
    readAll,
    hang: () => {
      answers = false;
    },
  };
}

describe('messages to the cache are bounded in bytes', () => {
  test('puts travel in messages of a MiB, a larger one alone', async () => {
    const { client, commands } = clientOf(0);
    const sizes = [0.4, 0.5, 0.3, 2, 0.1];
    const puts = sizes.map((size, i) =>
      client.run({
        kind: 'put',
        key: String(i),
        version: 1,
        payload: 'x'.repeat(size * MIB),
        ttlMs: 1_000,
        staleAtMs: 0,
        holeTtlMs: 1_000,
        token: undefined,
      }),
    );
    await Promise.all(puts);
    expect(commands.map((some) => some.map(({ key }) => key))).toEqual([['0', '1'], ['2'], ['3'], ['4']]);
  });

  test('small values are read many at a time', async () => {
    const { readAll } = clientOf(100);
    const batches = [...new Array<number>(7).fill(128), 104];
    expect(await readAll(1_000)).toEqual(batches);
    expect(await readAll(1_000)).toEqual(batches);
  });

  test('large values are read a few at a time, 256 KiB, once it is known that they are large', async () => {
    const { readAll } = clientOf(MIB / 40);
    await readAll(1_024);
    const batches = await readAll(512);
    expect(Math.max(...batches)).toBeGreaterThan(5);
    expect(Math.max(...batches)).toBeLessThanOrEqual(11);
    expect(batches.reduce((sum, count) => sum + count)).toBe(512);
  });

  test('what was not answered in time is asked for in halves the next time', async () => {
    const { readAll, hang } = clientOf(0);
    hang();
    expect(await readAll(128)).toEqual([128]);
    expect((await readAll(128))[0]).toBe(64);
    expect((await readAll(128))[0]).toBe(32);
  });
});

describe('a batch stays one', () => {
  const commands = (count: number): InvalidateCommand[] =>
    Array.from({ length: count }, (_, i) => ({
      kind: 'invalidate',
      key: String(i),
      version: 1,
      holeTtlMs: 1_000,
      holeOnEmpty: false,
    }));

  test('of commands: the adapter gets the very list, at once', async () => {
    const { client, commands: calls } = clientOf(0);
    await client.open();
    const all = commands(500);
    const running = client.runMany(all);
    expect(calls).toEqual([all]);
    expect(await running).toHaveLength(500);
  });

  test('of more than a call may have: in parts, in order, between what came before and after', async () => {
    const { client, commands: calls } = clientOf(0);
    const [before, after] = [
      client.run(commands(1)[0] as InvalidateCommand),
      commands(1)[0] as InvalidateCommand,
    ];
    const running = client.runMany(commands(1_200));
    await Promise.all([before, running, client.run(after)]);
    expect(calls.map((some) => some.length)).toEqual([1, 512, 512, 176, 1]);
    expect(await running).toHaveLength(1_200);
  });
});
