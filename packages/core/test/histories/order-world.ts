import type { Collection } from '../../src/contracts/api.js';
import type { StoreAdapter } from '../../src/contracts/store.js';
import { memoryStore } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { Scheduler } from './scheduler.js';
import { SimCache } from './sim-cache.js';
import { simStore } from './sim-store.js';

export interface Named {
  readonly name: string;
}

export interface OrderWorldOptions {
  readonly seed: number;
  /** What a process sees of the store; a control changes what it says of refusals. */
  readonly adapt?: (store: StoreAdapter<Named>) => StoreAdapter<Named>;
}

/** A row as its writers know it: who may take which name. */
interface Known {
  readonly key: string;
  readonly place: number;
  name: string;
  busy: boolean;
  /** A write of it was not acknowledged: nobody knows what it holds, so nobody uses it any more. */
  retired: boolean;
}

/** A name that a row has given up. */
interface Free {
  readonly name: string;
  readonly place: number;
}

const KEYS = 5;
const CLIENTS = 3;
const CALLS = 6;
const FAULTS = 0.01;
/** Longer than a refusal waits for others at the least. */
const HOLD_MS = 4_000;
const MAX_STEPS = 200_000;

/**
 * Two processes that write behind, rows whose names are unique, and transactions of others that hold rows for
 * seconds. Each write is valid when it begins: a name is taken only once the write that gives it up is acknowledged,
 * and only by a row further on, so that no two rows wait for each other. Whatever the order of the flushes, the
 * store must end with what was acknowledged, and nothing may be refused.
 */
export async function runOrderWorld({ adapt, seed }: OrderWorldOptions): Promise<string[]> {
  const scheduler = new Scheduler(seed);
  const { clock } = scheduler;
  const cache = new SimCache({ scheduler, faults: FAULTS, evicts: false });
  const inner = memoryStore<Named>({ name: 'people', clock, feedGraceMs: 50, unique: ['name'] });
  const faults = (): number => (cache.calm ? 0 : FAULTS);
  const store = simStore({ inner, scheduler, faults, versioned: true, committed: () => undefined });
  const problems: string[] = [];
  const processes = Array.from({ length: 2 }, () => {
    const lockstep = createLockstep({
      cache: cache.adapter,
      clock,
      random: scheduler.random,
      cacheTimeoutMs: 100,
      breaker: { threshold: 1_000_000 },
    });
    lockstep.events.on('flushRefused', ({ key, version }) => {
      problems.push(`the write ${version} of "${key}", which was valid, was refused`);
    });
    const people = lockstep.collection<Named>({
      name: 'people',
      store: adapt?.(store) ?? store,
      strategy: 'write-behind',
      burst: { ackTimeoutMs: 60, maxClockSkewMs: 0 },
      storeTimeoutMs: 500,
    });
    return { lockstep, people };
  });
  const rows: Known[] = Array.from({ length: KEYS }, (_, place) => {
    return { key: `k${place}`, place, name: `n${place}`, busy: false, retired: false };
  });
  const free: Free[] = [];
  let names = KEYS;

  const pause = (ms: number): Promise<void> =>
    new Promise((resolve) => void clock.schedule(resolve, ms * scheduler.random()));

  const until = async (work: Promise<unknown>): Promise<void> => {
    let over = false;
    const end = (): void => {
      over = true;
    };
    work.then(end, end);
    await scheduler.run(() => over, undefined, MAX_STEPS);
    await work;
  };

  /** A name that is free for the row, or a new one. */
  function nameFor(row: Known): string {
    const at = free.findIndex(({ place }) => place < row.place);
    const taken = at >= 0 && scheduler.chance(0.8) ? free.splice(at, 1)[0] : undefined;
    return taken?.name ?? `n${names++}`;
  }

  async function client(): Promise<void> {
    for (let call = 0; call < CALLS; call++) {
      const idle = rows.filter(({ busy, retired }) => !busy && !retired);
      if (idle.length > 0) await write(scheduler.pick(processes).people, scheduler.pick(idle));
      await pause(500);
    }
  }

  async function write(people: Collection<Named>, row: Known): Promise<void> {
    const name = nameFor(row);
    row.busy = true;
    const result = await people.put(row.key, { name }).catch(() => undefined);
    row.busy = false;
    if (result === undefined) {
      row.retired = true;
      return;
    }
    free.push({ name: row.name, place: row.place });
    row.name = name;
  }

  /** Another program's transactions, which hold rows and leave them as they are. */
  async function holder(): Promise<void> {
    for (let call = 0; call < 3; call++) {
      const { key } = scheduler.pick(rows);
      const holding = inner.transactions.transaction(
        async (tx) => {
          await inner.fence?.enter([key], { timeoutMs: 10 * HOLD_MS, tx });
          await pause(HOLD_MS);
        },
        { timeoutMs: 10 * HOLD_MS },
      );
      await holding.catch(() => undefined);
    }
  }

  /** Until a flush comes through. */
  async function flushed(people: Collection<Named>): Promise<void> {
    while ((await people.flush().catch((error: unknown) => error)) instanceof Error);
  }

  const first = rows.map(({ key, name }) => ({ kind: 'put', key, value: { name }, above: 0 }) as const);
  await until(inner.write(first, { timeoutMs: 1_000 }));
  await until(Promise.all([...Array.from({ length: CLIENTS }, client), holder(), holder()]));
  cache.calm = true;
  for (const { lockstep, people } of processes) {
    await until(lockstep.drain());
    await until(flushed(people));
  }
  for (const { key, name, retired } of rows) {
    if (retired) continue;
    const [row] = await inner.read([key], { timeoutMs: 1_000, primary: true });
    if (row?.value.name !== name) {
      problems.push(`"${key}" was acknowledged as ${name}, and the store has ${row?.value.name}`);
    }
  }
  return problems;
}
