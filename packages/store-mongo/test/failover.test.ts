import { StoreTimeoutError, StoreUnavailableError } from '@lockstep/core';
import type { Document } from 'mongodb';
import { describe, expect, test } from 'vitest';
import type { MongoCollection } from '../src/rows/collection.js';
import { Consumer, until } from './support/consumer.js';
import { CALL, PRIMARY, testServer } from './support/server.js';

interface Thing extends Document {
  readonly _id: string;
  readonly n: number;
}

const server = testServer({ members: 3, electionTimeoutMillis: 1_000 });

async function setUp(name: string) {
  const client = await server.client();
  const store = await server.store({ client, feed: { leaseMs: 600 } });
  const things = store.collection<Thing>(name);
  await store.attach([things]);
  return { client, store, things };
}

/** Writers that put ever higher numbers until they are stopped; the last acknowledged one of each key. */
function writers(things: MongoCollection<Thing, string>, count: number) {
  const acknowledged = new Map<string, { n: number; version: number }>();
  const failures: unknown[] = [];
  let running = true;
  let writes = 0;
  const work = Array.from({ length: count }, async (_, writer) => {
    for (let n = 1; running; n += 1) {
      const keys = [`${writer} a`, `${writer} b`];
      const outcomes = await things
        .write(
          keys.map((key) => ({ kind: 'put' as const, key, value: { _id: key, n }, above: 0 })),
          { timeoutMs: 15_000 },
        )
        .catch((error: unknown) => [error]);
      outcomes.forEach((outcome, at) => {
        const key = keys[at] ?? '';
        const written = outcome as { kind?: string; version?: number; error?: unknown };
        if (written.kind !== 'written') failures.push(written.error ?? outcome);
        else {
          writes += 1;
          expect(written.version).toBeGreaterThan(acknowledged.get(key)?.version ?? 0);
          acknowledged.set(key, { n, version: written.version ?? 0 });
        }
      });
    }
  });
  return {
    acknowledged,
    failures,
    get writes() {
      return writes;
    },
    async stop() {
      running = false;
      await Promise.all(work);
    },
  };
}

describe('a step-down of the primary under load', () => {
  test('fails no write, loses none, and the feed goes on (G4, G9)', async () => {
    const { store, things } = await setUp('things');
    const consumer = new Consumer(store.feed, [things.source]);
    const load = writers(things, 4);
    await until(() => (load.writes > 50 ? true : undefined));
    await server.service.stepDown();
    const after = load.writes;
    await until(() => (load.writes > after + 50 ? true : undefined), 20_000);
    await load.stop();
    expect(load.failures).toEqual([]);
    for (const [key, { n, version }] of load.acknowledged) {
      const [row] = await things.read([key], PRIMARY);
      expect(row).toMatchObject({ value: { n }, version });
      await consumer.tookAbove(key, version - 1, 15_000);
    }
    await consumer.stop();
  });

  test('lets compare-and-set, increments and deletions happen once', async () => {
    const { things } = await setUp('counted');
    const put = { kind: 'put', key: 'a', value: { _id: 'a', n: 0 }, above: 0 } as const;
    await things.write([put], CALL);
    let added = 0;
    let running = true;
    const adding = Promise.all(
      Array.from({ length: 4 }, async () => {
        while (running) {
          const increment = { kind: 'increment', key: 'a', field: 'n', by: 1, above: 0 } as const;
          const [outcome] = await things.write([increment], { timeoutMs: 15_000 });
          if (outcome?.kind !== 'written') throw new Error(`not added: ${JSON.stringify(outcome)}`);
          added += 1;
        }
      }),
    );
    await until(() => (added > 30 ? true : undefined));
    await server.service.stepDown();
    const before = added;
    await until(() => (added > before + 30 ? true : undefined), 20_000);
    running = false;
    await adding;
    expect((await things.read(['a'], PRIMARY))[0]?.value.n).toBe(added);
  });
});

test('a primary that is frozen costs a caller its time-out, and commits nothing when it thaws', async () => {
  const { things } = await setUp('frozen');
  const put = { kind: 'put', key: 'a', value: { _id: 'a', n: 0 }, above: 0 } as const;
  const [before] = await things.write([put], CALL);
  const first = before?.kind === 'written' ? before.version : 0;
  const primary = await server.service.primary();
  primary.freeze();
  try {
    const startedMs = performance.now();
    const results = await Promise.allSettled([
      things.write([put], { timeoutMs: 300 }),
      things.read(['a'], { timeoutMs: 300, primary: true }),
      things.write([{ kind: 'delete', key: 'a', above: 0 }], { timeoutMs: 300 }),
    ]);
    // The driver itself would wait for thirty seconds.
    expect(performance.now() - startedMs).toBeLessThan(15_000);
    for (const result of results) {
      const error: unknown =
        result.status === 'rejected'
          ? result.reason
          : (result.value[0] as { error?: unknown } | undefined)?.error;
      expect([StoreTimeoutError, StoreUnavailableError]).toContain((error as object).constructor);
    }
  } finally {
    primary.thaw();
  }
  // What was sent and not answered is run now, and finds that it is too late.
  const [version] = (await things.read(['a'], PRIMARY)).map((row) => row?.version);
  const outcome = await until(async () => {
    const [next] = await things.write([{ ...put, value: { _id: 'a', n: 1 } }], CALL);
    return next?.kind === 'written' ? next : undefined;
  });
  expect(version).toBe(first);
  expect(outcome.value).toEqual({ _id: 'a', n: 1 });
});
