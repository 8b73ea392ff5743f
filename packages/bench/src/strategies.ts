import { redisCache } from '@lockstep/cache-redis';
import { type Collection, createLockstep, type Lockstep, type Strategy } from '@lockstep/core';
import { startRedis } from '@lockstep/dev-services';
import { fill, TTL_S } from './bursts/ours.js';
import { PRODUCTS, type Product, product } from './bursts/product.js';
import type { Side } from './bursts/sides.js';
import { OPEN_STORES, type OpenedStore } from './bursts/stores.js';
import { median, TURN_MS, turn } from './bursts/turn.js';

/** The figures of one strategy: medians over the turns. */
export interface StrategyFigures {
  /** One writer alone: a write's median latency, in ms. */
  readonly aloneMs: number;
  /** 256 writers on 10,000 keys: acknowledged writes per second. */
  readonly perSecond: number;
  /** How long afterwards the last of what was buffered was in the store, in ms. */
  readonly flushMs: number;
  /** The share of those writes that the cache acknowledged. */
  readonly buffered: number;
  /** A read right behind a write of its key: its median latency, in ms. */
  readonly readBackMs: number;
}

type Figures = Readonly<Record<Strategy, StrategyFigures>>;

export interface StrategyResult {
  readonly store: string;
  readonly turns: number;
  readonly strategies: Figures;
  /** The same while every answer of the store comes `slowMs` late. */
  readonly slow: Figures;
  readonly slowMs: number;
}

const STRATEGIES: readonly Strategy[] = ['write-through', 'cache-aside', 'write-behind'];
const WRITERS = 256;
const SLOW_MS = 50;

/** Each strategy with the store at its own speed, and with a slow one. */
export async function runStrategies(
  store: keyof typeof OPEN_STORES,
  turns: number,
  progress: (line: string) => void,
): Promise<StrategyResult> {
  const strategies = await compare(store, turns, 0, progress);
  const slow = await compare(store, turns, SLOW_MS, progress);
  return { store, turns, strategies, slow, slowMs: SLOW_MS };
}

/** A collection of each strategy, on a table of its own, on the same servers; by turns. */
async function compare(
  store: keyof typeof OPEN_STORES,
  turns: number,
  delayMs: number,
  progress: (line: string) => void,
): Promise<Figures> {
  const [opened, redis] = await Promise.all([OPEN_STORES[store](delayMs > 0), startRedis({ owned: true })]);
  const lockstep = createLockstep({ cache: redisCache({ url: redis.url }) });
  const measured = perStrategy((): StrategyFigures[] => []);
  try {
    const subjects: Subject[] = [];
    for (const strategy of STRATEGIES) subjects.push(await subject(lockstep, opened, strategy));
    opened.delay(delayMs);
    for (let round = 0; round <= turns; round++) {
      for (const one of subjects) {
        const figures = await measure(one);
        // The first round warms up.
        if (round > 0) measured[one.strategy].push(figures);
      }
      subjects.reverse();
    }
  } finally {
    await lockstep.close();
    await Promise.all([opened.close(), redis.stop()]);
  }
  const middle = perStrategy((strategy) => middleOf(measured[strategy]));
  for (const strategy of STRATEGIES) {
    progress(`${strategy}, store ${delayMs} ms late: ${JSON.stringify(middle[strategy])}`);
  }
  return middle;
}

function perStrategy<T>(of: (strategy: Strategy) => T): Record<Strategy, T> {
  return {
    'write-through': of('write-through'),
    'cache-aside': of('cache-aside'),
    'write-behind': of('write-behind'),
  };
}

function middleOf(all: readonly StrategyFigures[]): StrategyFigures {
  return {
    aloneMs: median(all.map((one) => one.aloneMs)),
    perSecond: median(all.map((one) => one.perSecond)),
    flushMs: median(all.map((one) => one.flushMs)),
    buffered: median(all.map((one) => one.buffered)),
    readBackMs: median(all.map((one) => one.readBackMs)),
  };
}

interface Subject {
  readonly strategy: Strategy;
  readonly collection: Collection<never, string>;
  readonly side: Side;
  /** Writes that the cache has acknowledged so far. */
  readonly buffered: () => number;
}

async function subject(lockstep: Lockstep, opened: OpenedStore, strategy: Strategy): Promise<Subject> {
  const store = await opened.table(strategy.replace('-', '_'));
  const collection = lockstep.collection({ name: strategy, store, ttlMs: TTL_S * 1_000, strategy });
  let buffered = 0;
  if (strategy === 'write-behind') {
    lockstep.events.on('write', (event) => {
      if (event.store === 'buffered') buffered++;
    });
  }
  const side = opened.side(collection);
  await fill([side]);
  await collection.flush();
  return { strategy, collection, side, buffered: () => buffered };
}

let revision = 0;

function changed(n: number): Product {
  return { ...product((n * 7_919) % PRODUCTS), stock: ++revision };
}

async function measure({ collection, side, buffered }: Subject): Promise<StrategyFigures> {
  const put = (n: number): Promise<unknown> => side.put(changed(n));
  const alone = await turn(1, { ms: TURN_MS }, put);
  await collection.flush();
  const before = buffered();
  const many = await turn(WRITERS, { ms: TURN_MS }, put);
  const share = (buffered() - before) / many.calls;
  const endedAt = performance.now();
  await collection.flush();
  const flushMs = performance.now() - endedAt;
  const reads: number[] = [];
  await turn(1, { ms: TURN_MS }, async (n) => {
    const value = changed(n);
    await side.put(value);
    const startedAt = performance.now();
    await collection.get(value.id);
    reads.push(performance.now() - startedAt);
  });
  await collection.flush();
  return {
    aloneMs: alone.p50Ms,
    perSecond: many.perSecond,
    flushMs,
    buffered: share,
    readBackMs: median(reads),
  };
}
