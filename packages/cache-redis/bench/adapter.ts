/**
 * The adapter against the bare client, side by side on one server: reads of 1 and 50 keys against GET and
 * MGET, puts against SETEX. Run after a build, with Node 24: `node packages/cache-redis/bench/adapter.ts`.
 */
import { redisCache } from '@lockstep/cache-redis';
import type { CacheAdapter, CacheCommand } from '@lockstep/core';
import { startRedis } from '@lockstep/dev-services';
import { Redis } from 'ioredis';

const KEYS = 10_000;
const TURNS = 5;
const TURN_MS = 400;
const TTL_MS = 3_600_000;
const payload = JSON.stringify({ id: 1, name: 'a product', text: 'x'.repeat(250) });
const keys = Array.from({ length: KEYS }, (_, index) => `wtc:products:${index}`);
const bareKeys = keys.map((key) => `bare:${key}`);

let turn = 0;
function some(from: readonly string[], count: number): string[] {
  turn = (turn * 1_103_515_245 + 12_345) % 2_147_483_648;
  const start = turn % (KEYS - count);
  return from.slice(start, start + count);
}

function put(key: string, version: number): CacheCommand {
  return { kind: 'put', key, token: 't', version, payload, ttlMs: TTL_MS, staleAtMs: 0, holeTtlMs: TTL_MS };
}

interface Figures {
  readonly keysPerSecond: number;
  /** The processor time of this process. It says more than the rate does on a machine that others use, too. */
  readonly cpuMicrosPerKey: number;
}

/** The figures of `once` when so many callers call it all the time. */
async function measure(callers: number, size: number, once: () => Promise<unknown>): Promise<Figures> {
  let done = 0;
  const cpu = process.cpuUsage();
  const began = performance.now();
  const caller = async (): Promise<void> => {
    while (performance.now() - began < TURN_MS) {
      await once();
      done += size;
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  const { user, system } = process.cpuUsage(cpu);
  return {
    keysPerSecond: (done * 1_000) / (performance.now() - began),
    cpuMicrosPerKey: (user + system) / done,
  };
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

async function compare(
  name: string,
  callers: number,
  size: number,
  ours: () => Promise<unknown>,
  bare: () => Promise<unknown>,
): Promise<void> {
  const turns: { our: Figures; their: Figures }[] = [];
  for (let each = 0; each < TURNS; each += 1) {
    turns.push({ our: await measure(callers, size, ours), their: await measure(callers, size, bare) });
  }
  const show = (figure: keyof Figures, digits: number): string => {
    const our = median(turns.map((each) => each.our[figure]));
    const their = median(turns.map((each) => each.their[figure]));
    return `${(our / their).toFixed(2)} (${our.toFixed(digits)} / ${their.toFixed(digits)})`;
  };
  console.log(
    `${name.padEnd(26)} keys/s ${show('keysPerSecond', 0).padEnd(26)} CPU us/key ${show('cpuMicrosPerKey', 2)}`,
  );
}

await using server = await startRedis({ owned: true });
const client = new Redis(server.url);
const cache: CacheAdapter = redisCache({ url: server.url });
await cache.open?.();
for (let start = 0; start < KEYS; start += 500) {
  const part = keys.slice(start, start + 500);
  await cache.execute(part.map((key) => ({ kind: 'reserve', key, token: 't', holeTtlMs: TTL_MS })));
  await cache.execute(part.map((key) => put(key, 2)));
  const pipeline = client.pipeline();
  for (const key of bareKeys.slice(start, start + 500)) pipeline.setex(key, 3_600, payload);
  await pipeline.exec();
}
let version = 2;
for (const callers of [1, 64]) {
  const title = (what: string): string => `${what}, ${callers} at a time`;
  await compare(
    title('read of 1'),
    callers,
    1,
    () => cache.read(some(keys, 1), 'utf8'),
    () => client.get(some(bareKeys, 1)[0] ?? ''),
  );
  await compare(
    title('read of 50'),
    callers,
    50,
    () => cache.read(some(keys, 50), 'utf8'),
    () => client.mget(some(bareKeys, 50)),
  );
  await compare(
    title('put of 1'),
    callers,
    1,
    () => cache.execute(some(keys, 1).map((key) => put(key, ++version))),
    () => client.setex(some(bareKeys, 1)[0] ?? '', 3_600, payload),
  );
  await compare(
    title('put of 50'),
    callers,
    50,
    () => cache.execute(some(keys, 50).map((key) => put(key, ++version))),
    async () => {
      const pipeline = client.pipeline();
      for (const key of some(bareKeys, 50)) pipeline.setex(key, 3_600, payload);
      return pipeline.exec();
    },
  );
}
await cache.close();
client.disconnect();
