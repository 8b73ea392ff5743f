import type { WriteResult } from '../../src/contracts/api.js';
import type { StoreAdapter } from '../../src/contracts/store.js';
import { memoryStore } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { Scheduler } from './scheduler.js';
import { SimCache } from './sim-cache.js';
import { simStore } from './sim-store.js';

/** A row tells who has changed it, in their order: each by a number of its own. */
export interface Log {
  readonly by: readonly number[];
}

export interface LineWorldOptions {
  readonly seed: number;
  /** @defaultValue 0.02 */
  readonly faults?: number;
  readonly consistency?: 'available' | 'strict';
  /** Changes what the engine sees of the store; a control takes a rule out. */
  readonly storeOf?: (store: StoreAdapter<Log>) => StoreAdapter<Log>;
  /** Changes what a caller is told; a control takes a rule out. */
  readonly told?: (result: WriteResult<Log>, after: WriteResult<Log> | undefined) => WriteResult<Log>;
}

interface Told {
  readonly n: number;
  readonly by: readonly number[];
}

const CLIENTS = 6;
const CALLS = 5;
const KEY = 'a';

/**
 * Two processes whose callers all change one row, functions that fail or do nothing among them, conditions on what a
 * caller was told, and a foreign writer. Whatever was acknowledged is in the row, once, in the place that its caller was
 * told; and a condition holds for the row alone that its writer has seen.
 */
export async function runLineWorld(options: LineWorldOptions): Promise<string[]> {
  const { consistency, faults = 0.02, seed, storeOf, told: change } = options;
  const scheduler = new Scheduler(seed);
  const { clock } = scheduler;
  const cache = new SimCache({ scheduler, faults, evicts: consistency !== 'strict' });
  const inner = memoryStore<Log>({ name: 'rows', clock, feedGraceMs: 50 });
  const simulated = simStore({
    ...{ inner, scheduler, versioned: true },
    faults: () => (cache.calm ? 0 : faults),
    committed: () => undefined,
  });
  const store = storeOf?.(simulated) ?? simulated;
  const collections = Array.from({ length: 2 }, () =>
    createLockstep({
      cache: cache.adapter,
      clock,
      random: scheduler.random,
      cacheTimeoutMs: 100,
      breaker: { threshold: 1_000_000 },
    }).collection<Log>({
      name: 'rows',
      store,
      ...(consistency === undefined ? {} : { consistency }),
      ttlMs: 10_000,
      leaseMs: 300,
      leaseWaitMs: 200,
      storeTimeoutMs: 1_000,
    }),
  );
  const problems: string[] = [];
  const acknowledged: Told[] = [];
  /** May be in the row, or not. */
  const open = new Set<number>();
  let count = 0;
  await inner.write([{ kind: 'put', key: KEY, value: { by: [] }, above: 0 }], { timeoutMs: 1_000 });

  const appended = (row: Log | undefined, n: number): Log => ({ by: [...(row?.by ?? []), n] });

  async function update(): Promise<WriteResult<Log> | undefined> {
    const n = ++count;
    const kind = scheduler.random();
    const fails = new Error('its own');
    open.add(n);
    try {
      const result = await scheduler.pick(collections).update(KEY, async (row) => {
        if (scheduler.chance(0.2)) await scheduler.deliver();
        if (kind < 0.1) throw fails;
        return kind < 0.2 ? undefined : appended(row, n);
      });
      open.delete(n);
      if (kind < 0.1) problems.push(`update ${n} failed, and was acknowledged`);
      if (kind >= 0.2) acknowledged.push({ n, by: result.value?.by ?? [] });
      return result;
    } catch (error) {
      if (error === fails || (error as { outcome?: unknown }).outcome === 'not-committed') open.delete(n);
      return undefined;
    }
  }

  /** Whoever was told a row and its version writes under that condition. */
  async function conditional({ value, version }: WriteResult<Log>): Promise<void> {
    const n = ++count;
    open.add(n);
    try {
      const next = appended(value ?? undefined, n);
      const result = await scheduler.pick(collections).put(KEY, next, { ifVersion: version });
      open.delete(n);
      acknowledged.push({ n, by: result.value?.by ?? [] });
    } catch {
      return;
    }
  }

  async function client(): Promise<void> {
    for (let call = 0; call < CALLS; call++) {
      const results = await Promise.all([update(), update()]);
      const result = change === undefined ? results[0] : results[0] && change(results[0], results[1]);
      if (result !== undefined && result.version > 0 && scheduler.chance(0.3)) await conditional(result);
    }
  }

  async function foreigner(): Promise<void> {
    for (let i = 0; i < 3; i++) {
      await scheduler.deliver();
      const [row] = await inner.read([KEY], { timeoutMs: 1_000, primary: true });
      const n = ++count;
      const value = appended(row?.value, n);
      const command = { kind: 'put', key: KEY, value, above: 0, ifVersion: row?.version ?? null } as const;
      const [outcome] = await inner.write([command], { timeoutMs: 1_000 });
      if (outcome?.kind === 'written') acknowledged.push({ n, by: value.by });
    }
  }

  let running = CLIENTS + 1;
  const clients = [...Array.from({ length: CLIENTS }, client), foreigner()];
  for (const each of clients) void each.finally(() => running--);
  await scheduler.run(() => running === 0, undefined, 100_000);
  await Promise.all(clients);
  const [row] = await inner.read([KEY], { timeoutMs: 1_000, primary: true });
  return [...problems, ...misplaced(row?.value.by ?? [], acknowledged, open)];
}

function misplaced(row: readonly number[], told: readonly Told[], open: ReadonlySet<number>): string[] {
  const known = new Set([...told.map(({ n }) => n), ...open]);
  const nobodys = row.filter((n, at) => !known.has(n) || row.indexOf(n) !== at);
  return [
    ...told.flatMap(({ by, n }) =>
      by.at(-1) === n && by.every((each, at) => each === row[at])
        ? []
        : [`${n} was told [${by.join(' ')}], and the row is [${row.join(' ')}]`],
    ),
    ...nobodys.map((n) => `${n} is in the row, [${row.join(' ')}], and should not be`),
  ];
}
