import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { QueueJob } from '@lockstep/core';
import { startRedis } from '@lockstep/dev-services';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type BullmqQueueOptions, bullmqQueue } from '../src/index.js';
import { invalidation, until } from './support.js';

let redis: Awaited<ReturnType<typeof startRedis>>;
let count = 0;

beforeAll(async () => {
  redis = await startRedis({ owned: true, appendonly: true, appendfsync: 'always' });
});
afterAll(() => redis.stop());

function open(options: Partial<BullmqQueueOptions> = {}) {
  return bullmqQueue({ connection: { url: redis.url }, name: `faults${++count}`, ...options });
}

function server() {
  if (redis.process === undefined) throw new Error('needs a server of its own');
  return redis.process;
}

test('a database that the server does not have is refused, never another one used in its place', async () => {
  const queue = open({ connection: { url: `${redis.url}/999` } });
  const refused = { code: 'LOCKSTEP_QUEUE_UNAVAILABLE', message: expect.stringContaining('no database 999') };
  await expect(queue.status()).rejects.toMatchObject(refused);
  await expect(queue.enqueue([invalidation('k', 1)])).rejects.toMatchObject(refused);
  await expect(queue.consume(async () => undefined)).rejects.toMatchObject(refused);
  await queue.close();
});

test('G9: with producers and consumers side by side every version that was taken is handled, or a higher one, after', async () => {
  const name = `race${++count}`;
  const producers = [open({ name }), open({ name }), open({ name })];
  const handled: { key: string; version: number; begunAt: number }[] = [];
  const taken: { key: string; version: number; at: number }[] = [];
  const consumers = await Promise.all(
    producers.slice(0, 2).map((queue) =>
      queue.consume(async (job) => {
        const begunAt = performance.now();
        await new Promise((resolve) => setImmediate(resolve));
        if (job.kind === 'invalidate') handled.push({ key: job.key, version: job.version, begunAt });
      }),
    ),
  );
  let version = 0;
  const produce = async (queue: (typeof producers)[number], random: number): Promise<void> => {
    for (let i = 0; i < 60; i++) {
      const job = invalidation(`k${(i * random) % 5}`, ++version);
      const at = performance.now();
      await queue.enqueue([job]);
      taken.push({ ...job, at });
    }
  };
  await Promise.all(producers.map((queue, i) => produce(queue, i + 3)));
  const missing = () =>
    taken.filter(
      ({ at, key, version: least }) =>
        !handled.some((one) => one.key === key && one.version >= least && one.begunAt >= at),
    );
  await until('everything is handled', () => missing().length === 0);
  await Promise.all(consumers.map((consumer) => consumer.close()));
  await Promise.all(producers.map((queue) => queue.close()));
});

describe('a server that hangs', () => {
  test('enqueue, status and close end in time; what was refused is said, and nothing stays in the way', async () => {
    const queue = open({ timeoutMs: 300, maxPending: 10 });
    await queue.enqueue([invalidation('a', 1)]);
    server().freeze();
    try {
      const began = performance.now();
      const calls = await Promise.allSettled([
        ...Array.from({ length: 12 }, (_, i) => queue.enqueue([invalidation(`b${i}`, 1)])),
        queue.status(),
      ]);
      expect(performance.now() - began).toBeLessThan(20_000);
      const messages = calls.map((call) => (call.status === 'rejected' ? String(call.reason) : 'taken'));
      expect(messages.filter((message) => message.includes('maxPending'))).toHaveLength(2);
      expect(messages.every((message) => message.includes('QueueUnavailableError'))).toBe(true);
    } finally {
      server().thaw();
    }
    await until('it takes jobs again', () =>
      queue.enqueue([invalidation('c', 1)]).then(
        () => true,
        () => false,
      ),
    );
    server().freeze();
    const closing = performance.now();
    await queue.close();
    expect(performance.now() - closing).toBeLessThan(20_000);
    server().thaw();
  });

  test('a consumer goes on by itself, and its close is bounded while it hangs', async () => {
    const queue = open({ timeoutMs: 300 });
    const seen: string[] = [];
    const consumer = await queue.consume(async ({ key }) => void seen.push(key));
    await queue.enqueue([invalidation('before', 1)]);
    await until('the first is handled', () => seen.includes('before'));
    server().freeze();
    await expect(queue.enqueue([invalidation('during', 1)])).rejects.toMatchObject({
      code: 'LOCKSTEP_QUEUE_UNAVAILABLE',
    });
    server().thaw();
    await until('it takes jobs again', () =>
      queue.enqueue([invalidation('after', 1)]).then(
        () => true,
        () => false,
      ),
    );
    await until('the consumer goes on', () => seen.includes('after'));
    server().freeze();
    const began = performance.now();
    await consumer.close();
    expect(performance.now() - began).toBeLessThan(60_000);
    server().thaw();
    await queue.close();
  });
});

test('the first contact: whoever looks waits for a silent server, a producer does not, and nobody for one that refuses', async () => {
  const sockets = new Set<Socket>();
  const silent = createServer((socket) => void sockets.add(socket.on('error', () => undefined).resume()));
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const { port } = silent.address() as AddressInfo;
  const quiet = bullmqQueue({ connection: { url: `redis://127.0.0.1:${port}` }, timeoutMs: 100 });
  const looking = expect(quiet.status()).rejects.toThrow(/not connected within 2500 ms.* want TLS\?/);
  await expect(quiet.enqueue([invalidation('a', 1)])).rejects.toThrow('within 100 ms');
  await looking;
  for (const socket of sockets) socket.destroy();
  silent.close();
  const refused = bullmqQueue({ connection: { url: 'redis://127.0.0.1:1' }, timeoutMs: 100 });
  await expect(refused.status()).rejects.toThrow(/within 100 ms: .*ECONNREFUSED/);
  await Promise.all([quiet.close(), refused.close()]);
});

test('G9: jobs survive a kill of the server, and the queue finds it again', async () => {
  const queue = open({ timeoutMs: 2_000 });
  await queue.enqueue([invalidation('a', 1), invalidation('b', 2)]);
  await server().kill();
  await expect(queue.enqueue([invalidation('c', 3)])).rejects.toMatchObject({
    code: 'LOCKSTEP_QUEUE_UNAVAILABLE',
  });
  await server().restart({ keepData: true });
  const seen: QueueJob[] = [];
  const consumer = await queue.consume(async (job) => void seen.push(job));
  await until('both are handled', () => seen.length >= 2);
  expect(seen.map(({ key }) => key).sort()).toEqual(['a', 'b']);
  await consumer.close();
  await queue.close();
});

test('a server that is away at construction is found when it comes', async () => {
  const late = await startRedis({ owned: true });
  try {
    await late.process?.kill();
    const queue = bullmqQueue({ connection: { url: late.url }, timeoutMs: 300 });
    await expect(queue.enqueue([invalidation('a', 1)])).rejects.toMatchObject({
      code: 'LOCKSTEP_QUEUE_UNAVAILABLE',
    });
    const seen: string[] = [];
    const consumer = await queue.consume(async ({ key }) => void seen.push(key));
    await late.process?.restart({ keepData: true });
    await until('it takes jobs', () =>
      queue.enqueue([invalidation('a', 1)]).then(
        () => true,
        () => false,
      ),
    );
    await until('they are handled', () => seen.includes('a'));
    await consumer.close();
    await queue.close();
  } finally {
    await late.stop();
  }
});

test('G9: the jobs of a consumer that was killed are taken over', async () => {
  const name = `killed${++count}`;
  const queue = open({ name, lockMs: 1_000 });
  const script = fileURLToPath(new URL('./stuck-consumer.ts', import.meta.url));
  const child = spawn(process.execPath, [script, redis.url, name], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    await queue.enqueue([invalidation('a', 1)]);
    await once(child.stdout, 'data');
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
    const seen: string[] = [];
    const consumer = await queue.consume(async ({ key }) => void seen.push(key));
    await until('another takes it over', () => seen.includes('a'));
    await consumer.close();
  } finally {
    child.kill('SIGKILL');
    await queue.close();
  }
});

test('a queue that is full refuses, and says which bound it is', async () => {
  const queue = open({ maxJobs: 3 });
  await queue.enqueue([1, 2, 3].map((n) => invalidation(`k${n}`, 1)));
  await expect(queue.enqueue([invalidation('k4', 1)])).rejects.toThrow('maxJobs');
  expect(await queue.status()).toMatchObject({ waiting: 3 });
  await queue.close();
});

test('evicts() says what the server does with memory that is full', async () => {
  const admin = new Redis(redis.url);
  const queue = open();
  expect(await queue.evicts()).toBe(false);
  await admin.config('SET', 'maxmemory-policy', 'allkeys-lru');
  expect(await queue.evicts()).toBe(true);
  await admin.config('SET', 'maxmemory-policy', 'noeviction');
  admin.disconnect();
  await queue.close();
});

test("a user's own client is duplicated, and left open", async () => {
  const own = new Redis(redis.url);
  const queue = bullmqQueue({ connection: own, name: `own${++count}` });
  await queue.enqueue([invalidation('a', 1)]);
  await queue.close();
  expect(await own.ping()).toBe('PONG');
  own.disconnect();
});

test.each([
  [{ connection: undefined }, 'bullmqQueue.connection'],
  [{ name: 'a:b' }, 'bullmqQueue.name'],
  [{ prefix: '' }, 'bullmqQueue.prefix'],
  [{ attempts: 0 }, 'bullmqQueue.attempts'],
  [{ quickTries: 1.5 }, 'bullmqQueue.quickTries'],
  [{ backoffMs: -1 }, 'bullmqQueue.backoffMs'],
  [{ maxBackoffMs: Number.NaN }, 'bullmqQueue.maxBackoffMs'],
  [{ deadLetterLimit: 0 }, 'bullmqQueue.deadLetterLimit'],
  [{ timeoutMs: 0 }, 'bullmqQueue.timeoutMs'],
  [{ maxPending: 0 }, 'bullmqQueue.maxPending'],
  [{ maxJobs: '9' }, 'bullmqQueue.maxJobs'],
  [{ lockMs: 1 }, 'bullmqQueue.lockMs'],
  [{ retries: 5 }, 'bullmqQueue.retries'],
])('a wrong option is named: %o', (options, name) => {
  expect(() => bullmqQueue({ connection: { url: redis.url }, ...options } as never)).toThrow(name);
});
