import type { WriteResult } from '../../src/contracts/api.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { type History, passedOver, sharedVersions, staleReads } from './history.js';
import { Scheduler } from './scheduler.js';
import { SimCache } from './sim-cache.js';
import { type OwnStatements, SimMajority } from './sim-majority.js';

/** `n` is unique per write; `after` is the row that it was made of, where it was made of one. */
interface Row {
  readonly n: number;
  readonly after?: number;
}

export interface MajorityWorldOptions {
  readonly seed: number;
  readonly looksAt?: 'primary' | 'majority';
  /** @defaultValue 0.02 */
  readonly faults?: number;
}

const CLIENTS = 5;
const CALLS = 4;
const KEYS = ['a', 'b'] as const;

/**
 * Two processes over a store whose writes its readers see later than its writers do, and acknowledged later still:
 * puts, deletes, updates, and own statements in transactions. Returns what is wrong with the history.
 */
export async function runMajorityWorld({
  seed,
  looksAt,
  faults = 0.02,
}: MajorityWorldOptions): Promise<string[]> {
  const scheduler = new Scheduler(seed);
  const cache = new SimCache({ scheduler, faults, evicts: true });
  const history: History = { writes: [], reads: [], commits: [] };
  const store = new SimMajority<Row>({
    scheduler,
    ...(looksAt === undefined ? {} : { looksAt }),
    committed: (key, value, version) => {
      const { n = 0, after } = value ?? {};
      history.commits.push({ key, step: scheduler.step, version, deleted: value === null, n, after });
    },
  });
  const collections = Array.from({ length: 2 }, () =>
    createLockstep({
      cache: cache.adapter,
      clock: scheduler.clock,
      random: scheduler.random,
      cacheTimeoutMs: 100,
      breaker: { threshold: 1_000_000 },
    }).collection<Row, string, OwnStatements<Row>>({
      name: 'rows',
      store: store.adapter as never,
      ttlMs: 10_000,
      holeTtlMs: 2_000,
      leaseMs: 300,
      leaseWaitMs: 200,
    }),
  );
  let count = 0;

  async function write(key: string): Promise<void> {
    const collection = scheduler.pick(collections);
    const begin = scheduler.step;
    const n = ++count;
    const kind = scheduler.random();
    const writing: Promise<WriteResult<Row>> =
      kind < 0.3
        ? collection.put(key, { n })
        : kind < 0.4
          ? collection.delete(key)
          : kind < 0.7
            ? collection.update(key, (row) => ({ n, after: row?.n ?? 0 }))
            : collection.write(key, async (own) => own.set(key, { n }));
    const result = await writing.catch(() => undefined);
    if (result === undefined) return;
    const { version, cache: told } = result;
    history.writes.push({
      key,
      begin,
      end: scheduler.step,
      version,
      deletes: result.value === null,
      cache: told,
    });
  }

  async function read(key: string): Promise<void> {
    const begin = scheduler.step;
    const found = await scheduler
      .pick(collections)
      .getVersioned(key)
      .catch(() => undefined);
    if (found === undefined) return;
    const { from, version } = found;
    history.reads.push({ key, begin, end: scheduler.step, version, from });
  }

  async function client(): Promise<void> {
    for (let call = 0; call < CALLS; call++) {
      const key = scheduler.pick<string>(KEYS);
      await (scheduler.chance(0.4) ? read(key) : write(key));
    }
  }

  let running = CLIENTS;
  const clients = Array.from({ length: CLIENTS }, client);
  for (const each of clients) void each.finally(() => running--);
  await scheduler.run(
    () => running === 0,
    () => {
      if (scheduler.chance(0.04)) cache.evict();
    },
  );
  await Promise.all(clients);
  return [...staleReads(history), ...sharedVersions(history), ...passedOver(history)];
}
