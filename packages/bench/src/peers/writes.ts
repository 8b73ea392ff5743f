import { TURN_MS, type Turn, turn } from '../bursts/turn.js';
import { type CaseResult, caseOf, tableOf } from './figures.js';
import { GROUND, type GroundOptions, openGrounds } from './ground.js';
import { LIMIT } from './peers.js';
import type { Side } from './side.js';
import { OURS } from './sides.js';
import { figuresInTurns } from './turns.js';

export interface WritesOptions extends GroundOptions {
  readonly turns: number;
  readonly turnMs: number;
  readonly writers: readonly number[];
}

export const WRITES: WritesOptions = {
  ...GROUND,
  limit: true,
  turns: 5,
  turnMs: TURN_MS,
  writers: [1, 256],
};

export type WritesResult = Readonly<Record<string, CaseResult>>;

/** Calls of one caller that change a row which is there. */
const CHANGES = ['increment', 'patch', 'update', 'delete'] as const;

/** Those who have more than `put`: the other caches leave the statements to their users. */
const CHANGING: readonly string[] = [OURS, 'by hand', 'tuned by hand', LIMIT];

/** Neighbours in time are not neighbours in the table: the stride shares no factor with the number of rows. */
const STRIDE = 7_919;

/**
 * Rows into the table and the cache: one writer's median latency, many writers' writes a second. Each side has put all
 * rows before: what a key's first write costs more is not in it.
 */
export async function runWrites(
  { turnMs, turns, writers, ...ground }: WritesOptions,
  progress: (line: string) => void,
): Promise<WritesResult> {
  const grounds = await openGrounds(ground);
  const result: Record<string, CaseResult> = {};
  const ids = Array.from({ length: ground.products }, (_, n) => n);
  const putAll = async (side: Side, some: readonly number[]): Promise<void> => {
    for (let from = 0; from < some.length; from += 500) {
      await Promise.all(some.slice(from, from + 500).map((n) => side.put(grounds.row(n))));
    }
  };
  const measure = async (
    key: string,
    unit: 'ms' | 'writes/s',
    sides: Readonly<Record<string, Side>>,
    one: (side: Side) => Promise<Turn>,
  ): Promise<void> => {
    const measured = await figuresInTurns(sides, turns, async (side) => {
      const { p50Ms, perSecond } = await one(side);
      return unit === 'ms' ? p50Ms : perSecond;
    });
    result[key] = caseOf(unit, unit === 'ms' ? 'less' : 'more', measured);
    progress(tableOf(key, result[key]));
  };
  try {
    for (const side of Object.values(grounds.sides)) await putAll(side, ids);
    for (const count of writers) {
      const key = `put, ${count} ${count === 1 ? 'writer' : 'writers'}`;
      await measure(key, count === 1 ? 'ms' : 'writes/s', grounds.sides, (side) =>
        turn(count, { ms: turnMs }, (n) =>
          side.put({ ...grounds.row((n * STRIDE) % ground.products), stock: n }),
        ),
      );
    }
    const sides = Object.fromEntries(
      Object.entries(grounds.sides).filter(([name]) => CHANGING.includes(name)),
    );
    for (const change of CHANGES) {
      await measure(`${change}, 1 caller`, 'ms', sides, async (side) => {
        const touched: number[] = [];
        const measured = await turn(1, { calls: ids.length, ms: turnMs }, async (n) => {
          const id = (n * STRIDE) % ids.length;
          touched.push(id);
          await side[change](String(id), ++revision);
        });
        // Each delete meets a row.
        if (change === 'delete') await putAll(side, touched);
        return measured;
      });
    }
  } finally {
    await grounds.close();
  }
  return result;
}

/** An update that changes nothing writes nothing. */
let revision = 0;
