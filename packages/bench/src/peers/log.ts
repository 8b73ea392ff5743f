import { turn } from '../bursts/turn.js';
import type { Table } from './database.js';
import { type CaseResult, caseOf, tableOf } from './figures.js';
import { GROUND, type GroundedSide, type GroundOptions, openGrounds } from './ground.js';
import { OURS } from './sides.js';
import { figuresInTurns } from './turns.js';

export interface LogOptions extends GroundOptions {
  readonly turns: number;
  /** Calls of a turn. */
  readonly calls: number;
}

export const LOG: LogOptions = {
  ...GROUND,
  peers: ['by hand', 'tuned by hand'],
  limit: true,
  turns: 3,
  calls: 2_000,
};

type Way = readonly [
  name: string,
  callers: number,
  call: (side: GroundedSide, n: number) => Promise<unknown>,
];

/**
 * Bytes that a write adds to the database's log (WAL, oplog), and to the records of changes. Turns have the same number
 * of calls. What a checkpoint adds (whole pages) hits the turns behind it, and the medians not.
 */
export async function runLog(
  { calls, turns, ...options }: LogOptions,
  progress: (line: string) => void,
): Promise<Readonly<Record<string, CaseResult>>> {
  const grounds = await openGrounds(options);
  const result: Record<string, CaseResult> = {};
  const keyOf = (n: number): number => (n * 7_919) % options.products;
  const row = (n: number) => ({ ...grounds.row(keyOf(n)), stock: n });
  const ways: readonly Way[] = [
    ['put, 1 writer', 1, (side, n) => side.put(row(n))],
    ['put, 256 writers', 256, (side, n) => side.put(row(n))],
    ['increment, 1 writer', 1, (side, n) => side.increment(String(keyOf(n)))],
    ['3 rows, 1 caller', 1, (side, n) => side.transact([row(3 * n), row(3 * n + 1), row(3 * n + 2)])],
    // A program without Lockstep writes: its changes are recorded, and wait for a relay, of which there is none.
    ['foreign increment', 1, ({ table }, n) => table.add(String(keyOf(n)), 1)],
  ];
  try {
    // Every page once: its first change after a checkpoint logs all of it.
    for (const { table } of Object.values(grounds.sides)) await touchAll(table, options.products);
    for (const [name, callers, call] of ways) {
      const measured = await figuresInTurns(grounds.sides, turns, async (side, round) => {
        const before = await grounds.database.logBytes();
        await turn(callers, { calls }, (n) => call(side, n + round * calls));
        return ((await grounds.database.logBytes()) - before) / calls;
      });
      result[`log: ${name}`] = caseOf('bytes', 'less', measured);
      progress(tableOf(`log: ${name}`, result[`log: ${name}`] as CaseResult));
    }
    const outbox = await figuresInTurns(recorded(grounds.sides), turns, async (side, round, name) => {
      const before = await grounds.database.feedBytes(name);
      await turn(32, { calls }, (n) => side.table.add(String(keyOf(n + round * calls)), 1));
      return ((await grounds.database.feedBytes(name)) - before) / calls;
    });
    if (options.store === 'postgres') {
      result['outbox: foreign increment'] = caseOf('bytes', 'less', outbox);
      progress(tableOf('outbox: foreign increment', result['outbox: foreign increment']));
    }
  } finally {
    await grounds.close();
  }
  return result;
}

/** Only Lockstep's table records what others change. */
function recorded(sides: Readonly<Record<string, GroundedSide>>): Record<string, GroundedSide> {
  return { [OURS]: sides[OURS] as GroundedSide };
}

async function touchAll(table: Table, products: number): Promise<void> {
  for (let n = 0; n < products; n += 1) await table.add(String(n), 1);
}
