import { type ProcessorTimes, perCall } from '../bursts/processor.js';
import { TURN_MS, turn } from '../bursts/turn.js';
import { type CaseResult, caseOf, tableOf } from './figures.js';
import { GROUND, type GroundOptions, openGrounds } from './ground.js';
import { coldRows } from './misses.js';
import type { Side } from './side.js';
import { inTurns, type Turns, turnsOf } from './turns.js';

export const OPERATIONS = ['hit', 'miss', 'put', 'increment', 'delete', 'transaction'] as const;
export type Operation = (typeof OPERATIONS)[number];

export interface CostsOptions extends Omit<GroundOptions, 'products'> {
  readonly turns: number;
  readonly turnMs: number;
  readonly callers: number;
  /** Rows that a turn reads for the first time, or deletes. */
  readonly once: number;
  readonly operations: readonly Operation[];
}

export const COSTS: CostsOptions = {
  ...GROUND,
  peers: ['by hand', 'bentocache'],
  limit: true,
  turns: 3,
  turnMs: TURN_MS,
  callers: 32,
  once: 3_000,
  operations: OPERATIONS,
};

/** Rows that stay: what is read and written again and again. */
const KEPT = 5_000;

const PROCESSES = { node: 'application', store: 'store', cache: 'cache' } as const;

/** Processor time of each operation, in µs, of the application, the database and the cache. */
export async function runCosts(
  { callers, once, operations, turnMs, turns, ...ground }: CostsOptions,
  progress: (line: string) => void,
): Promise<Readonly<Record<string, CaseResult>>> {
  const products = 2 * once * (turns + 1) + KEPT + 1;
  const grounds = await openGrounds({ ...ground, products });
  const result: Record<string, CaseResult> = {};
  const cold = coldRows();
  const kept = (n: number): number => products - 1 - ((n * 7_919) % KEPT);
  const row = (n: number) => ({ ...grounds.row(kept(n)), stock: n });
  const calls: Readonly<Record<Operation, (side: Side, n: number, from: number) => Promise<unknown>>> = {
    hit: (side, n) => side.get(String(kept(n))),
    miss: (side, n, from) => side.get(String(from + n)),
    put: (side, n) => side.put(row(n)),
    increment: (side, n) => side.increment(String(kept(n))),
    delete: (side, n, from) => side.delete(String(from + n)),
    transaction: (side, n) => side.transact([row(3 * n), row(3 * n + 1), row(3 * n + 2)]),
  };
  try {
    for (const side of Object.values(grounds.sides)) {
      await turn(callers, { calls: KEPT }, (n) => side.get(String(kept(n))));
    }
    for (const operation of operations) {
      const limited = operation === 'miss' || operation === 'delete';
      const used: Record<string, Turns> = {};
      await inTurns(grounds.sides, turns, async (side, name, round) => {
        const from = limited ? cold(side, once) : 0;
        const before = grounds.processor();
        const { calls: count } = await turn(callers, limited ? { calls: once } : { ms: turnMs }, (n) =>
          calls[operation](side, n, from),
        );
        const us: ProcessorTimes = perCall(before, grounds.processor(), count);
        if (round === 0) return;
        for (const [process, called] of Object.entries(PROCESSES)) {
          if (us[process] === undefined) continue;
          used[called] ??= turnsOf(grounds.sides);
          used[called][name]?.figures.push(us[process]);
        }
      });
      for (const [process, measured] of Object.entries(used)) {
        // Hits do not ask the store.
        if (Object.values(measured).every(({ figures }) => figures.every((figure) => figure === 0))) continue;
        const key = `${operation}: ${process}`;
        result[key] = caseOf('µs', 'less', measured);
        progress(tableOf(key, result[key]));
      }
    }
  } finally {
    await grounds.close();
  }
  return result;
}
