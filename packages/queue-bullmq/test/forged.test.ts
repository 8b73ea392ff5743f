import type { QueueJob, UnreadableJob } from '@lockstep/core';
import { startRedis } from '@lockstep/dev-services';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type BullmqQueue, bullmqQueue } from '../src/index.js';
import { invalidation, until } from './support.js';

const DAY_US = 24 * 3_600_000_000;

let server: Awaited<ReturnType<typeof startRedis>>;
let redis: Redis;
let queue: BullmqQueue;
let name: string;
let count = 0;

beforeAll(async () => {
  server = await startRedis({ owned: true });
  redis = new Redis(server.url);
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});
beforeEach(() => {
  name = `forged${++count}`;
  queue = bullmqQueue({ connection: { url: server.url }, name, attempts: 1, quickTries: 1, lockMs: 1_000 });
});
afterEach(() => queue.close());

const keyOf = (id: string): string => `bull:${name}:${id}`;

/** Jobs as somebody who may write to the queue's server adds them. */
async function forge(data: readonly unknown[]): Promise<void> {
  const stranger = new Queue(name, { connection: { url: server.url } });
  await stranger.addBulk(data.map((one) => ({ name: 'forged', data: one as object })));
  await stranger.close();
}

/** A dead letter of this very form. */
async function bury(id: string, fields: Readonly<Record<string, string>> | undefined): Promise<void> {
  if (fields !== undefined) await redis.hset(keyOf(id), fields);
  await redis.zadd(keyOf('failed'), Date.now(), id);
}

async function consume(handler: (job: QueueJob) => Promise<void> = async () => undefined) {
  const handled: QueueJob[] = [];
  const told: (QueueJob | UnreadableJob)[] = [];
  const consumer = await queue.consume(
    async (job) => {
      handled.push(job);
      await handler(job);
    },
    { onError: (_, job) => void told.push(job) },
  );
  return { handled, told, consumer };
}

describe('what is no job is set aside alone, and reaches no handler', () => {
  test.each<[string, unknown]>([
    ['null', null],
    ['text', 'DROP TABLE'],
    ['a list', [{ kind: 'invalidate', key: 'wtc:p:1', version: 2 }]],
    ['of an unknown kind', { kind: 'drop', key: 'wtc:p:1', version: 2 }],
    ['without a key', { kind: 'invalidate', version: 2 }],
    ['with a key of a megabyte', { kind: 'invalidate', key: 'k'.repeat(1_000_000), version: 2 }],
    ['with a version that is text', { kind: 'invalidate', key: 'wtc:p:1', version: '2' }],
    ['with a version of a half', { kind: 'invalidate', key: 'wtc:p:1', version: 1.5 }],
    ['with a refused write that is text', { kind: 'flush', collection: 'p', key: '1', refused: 'x' }],
    ['with a payload that is a number', flushOf({ version: 3, payload: 5, encoding: 'utf8' })],
  ])('%s', async (_, data) => {
    await forge([data]);
    await queue.enqueue([invalidation('wtc:p:good', 4)]);
    const { consumer, handled, told } = await consume();
    await until('the good one is handled', () => handled.length === 1);
    await until('the other one is a dead letter', async () => (await queue.status()).dead === 1);
    await consumer.close();
    expect(handled).toEqual([invalidation('wtc:p:good', 4)]);
    expect(told).toMatchObject([{ kind: 'unreadable' }]);
    const [letter, ...more] = await queue.deadLetters.list();
    expect(more).toEqual([]);
    expect(letter).toMatchObject({
      job: { kind: 'unreadable', raw: expect.any(String) },
      error: expect.stringContaining('it is no job'),
    });
    expect(JSON.stringify(letter).length).toBeLessThan(4_000);
  });

  test.each([
    ['data', '{"kind":'],
    ['opts', '{'],
    ['progress', 'half'],
  ])('a job whose %s BullMQ can not parse', async (field, text) => {
    const first = await consume();
    await first.consumer.close();
    const bad = invalidation('wtc:p:bad', 2);
    await queue.enqueue([bad, invalidation('wtc:p:good', 4)]);
    const ids = await redis.lrange(keyOf('wait'), 0, -1);
    const held = await Promise.all(ids.map((id) => redis.hget(keyOf(id), 'data')));
    const id = ids[held.findIndex((data) => data?.includes('wtc:p:bad'))] ?? '';
    await redis.hset(keyOf(id), field, text);
    const { consumer, handled, told } = await consume();
    await until('the good one is handled', () => handled.length === 1);
    await until('the other one is a dead letter', async () => (await queue.status()).dead === 1);
    expect(told).toMatchObject([{ kind: 'unreadable' }]);
    expect(await queue.deadLetters.list()).toMatchObject([{ id, job: { kind: 'unreadable' } }]);
    // Its identity is free again.
    await queue.enqueue([bad]);
    await until('another one of its key is handled', () => handled.length === 2);
    expect(await queue.deadLetters.discard()).toBe(1);
    expect(await redis.exists(keyOf(id))).toBe(0);
    await consumer.close();
  });
});

function flushOf(refused: unknown): unknown {
  return { kind: 'flush', collection: 'p', key: '1', refused };
}

describe('dead letters that can not be read', () => {
  /** Seven of them, of which two can be replayed. */
  async function buryAll(): Promise<void> {
    const opts = JSON.stringify({ attempts: 1 });
    const good = (key: string) => ({
      name: 'x',
      opts,
      data: JSON.stringify(invalidation(key, 2)),
      timestamp: '1',
    });
    await bury('1001', { ...good('wtc:p:1'), data: '{"kind":' });
    await bury('1002', good('wtc:p:first'));
    await bury('1003', { ...good('wtc:p:3'), opts: '{' });
    await bury('1004', { ...good('wtc:p:4'), opts: 'null' });
    await bury('1005', undefined);
    await redis.set(keyOf('1006'), 'no hash');
    await bury('1006', undefined);
    await bury('1007', good('wtc:p:last'));
  }

  test('are shown, each for itself, and stop neither "replay all" nor "discard all"', async () => {
    await buryAll();
    const letters = await queue.deadLetters.list();
    expect(letters).toHaveLength(7);
    expect(
      letters
        .filter(({ job }) => job.kind === 'unreadable')
        .map(({ id }) => id)
        .sort(),
    ).toEqual(['1001', '1003', '1004', '1005', '1006']);
    expect(await queue.deadLetters.replay()).toBe(2);
    const { consumer, handled } = await consume();
    await until('both are handled', () => handled.length === 2);
    expect(handled.map(({ key }) => key).sort()).toEqual(['wtc:p:first', 'wtc:p:last']);
    await consumer.close();
    expect(await queue.deadLetters.replay()).toBe(0);
    expect(await queue.deadLetters.discard()).toBe(5);
    expect(await queue.status()).toMatchObject({ dead: 0, waiting: 0 });
    expect(await redis.exists(['1001', '1003', '1004', '1006'].map(keyOf))).toBe(0);
  });

  test('more than a page of them, the oldest, do not hide those behind', async () => {
    for (let i = 0; i < 120; i++) await bury(`ghost${i}`, undefined);
    await bury('2000', {
      name: 'x',
      opts: '{}',
      data: JSON.stringify(invalidation('wtc:p:behind', 2)),
      timestamp: '1',
    });
    expect(await queue.deadLetters.replay()).toBe(1);
    expect(await queue.deadLetters.discard()).toBe(120);
    expect((await queue.status()).dead).toBe(0);
  });

  test('by id: passed over by a replay, taken by a discard', async () => {
    await buryAll();
    expect(await queue.deadLetters.replay(['1001', '1002', 'unknown'])).toBe(1);
    expect(await queue.deadLetters.discard(['1003', '1005', '1007', 'unknown'])).toBe(3);
    expect((await queue.deadLetters.list()).map(({ id }) => id).sort()).toEqual(['1001', '1004', '1006']);
  });
});

describe('versions beside the jobs that others wrote', () => {
  const versions = (): string => keyOf('lockstep-versions');
  test.each(['9'.repeat(16), '9'.repeat(40), 'NaN', '1e300', '-4', '', 'x', '7 two words'])(
    'the note "%s" ruins no row: the job runs, of unknown version at most',
    async (note) => {
      const job = invalidation('wtc:p:1', 20);
      await queue.enqueue([job]);
      await redis.hset(versions(), 'i:wtc:p:1', note);
      await queue.enqueue([invalidation('wtc:p:2', 6)]);
      const { consumer, handled } = await consume();
      await until('both are handled', () => handled.length === 2);
      await consumer.close();
      const one = handled.find(({ key }) => key === 'wtc:p:1');
      expect([0, 20]).toContain((one as { version: number }).version);
      expect(await redis.hlen(versions())).toBe(0);
    },
  );

  test('one far ahead of the clock is taken for an unknown one', async () => {
    await queue.enqueue([invalidation('wtc:p:1', 20)]);
    await redis.hset(versions(), 'i:wtc:p:1', String(Date.now() * 1_000 + 3 * DAY_US));
    const { consumer, handled } = await consume();
    await until('it is handled', () => handled.length === 1);
    await consumer.close();
    expect(handled).toEqual([invalidation('wtc:p:1', 0)]);
  });
});

test("a job's mac goes with its version, however jobs merge", async () => {
  const job = (version: number, mac: string): QueueJob => ({
    kind: 'invalidate',
    key: 'wtc:p:1',
    version,
    mac,
  });
  await queue.enqueue([job(30, 'thirty')]);
  await queue.enqueue([job(50, 'fifty'), job(40, 'forty')]);
  await queue.enqueue([job(20, 'twenty')]);
  const { consumer, handled } = await consume();
  await until('it is handled', () => handled.length === 1);
  await consumer.close();
  expect(handled).toEqual([job(50, 'fifty')]);
});
