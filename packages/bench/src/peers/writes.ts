import { product } from '../bursts/product.js';
import { TURN_MS, type Turn, turn } from '../bursts/turn.js';
import { type CaseResult, caseOf, tableOf } from './figures.js';
import { GROUND, type GroundedSide, type GroundOptions, openGrounds } from './ground.js';
import { turnsOf } from './stampede.js';

export interface WritesOptions extends GroundOptions {
  readonly turns: number;
  readonly turnMs: number;
  readonly writers: readonly number[];
}

export const WRITES: WritesOptions = { ...GROUND, turns: 5, turnMs: TURN_MS, writers: [1, 256] };

export type WritesResult = Readonly<Record<string, CaseResult>>;

/** Calls of one caller that change a row which is there. */
const CHANGES = ['increment', 'patch', 'update', 'delete'] as const;

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
  /** One after the other and changing places; the first round warms up. */
  async function measure(
    key: string,
    unit: 'ms' | 'writes/s',
    sides: Readonly<Record<string, GroundedSide>>,
    one: (side: GroundedSide) => Promise<Turn>,
  ): Promise<void> {
    const measured = turnsOf(sides);
    const names = Object.keys(sides);
    for (let round = 0; round <= turns; round++) {
      for (const name of round % 2 === 0 ? names : names.toReversed()) {
        const { p50Ms, perSecond } = await one(sides[name] as GroundedSide);
        if (round > 0) measured[name]?.figures.push(unit === 'ms' ? p50Ms : perSecond);
      }
    }
    result[key] = caseOf(unit, unit === 'ms' ? 'less' : 'more', measured);
    progress(tableOf(key, result[key]));
  }
  try {
    for (const side of Object.values(grounds.sides)) await putAll(side, ids);
    for (const count of writers) {
      const key = `put, ${count} ${count === 1 ? 'writer' : 'writers'}`;
      await measure(key, count === 1 ? 'ms' : 'writes/s', grounds.sides, (side) =>
        turn(count, { ms: turnMs }, (n) =>
          side.put({ ...product((n * STRIDE) % ground.products), stock: n }),
        ),
      );
    }
    const sides = Object.fromEntries(
      Object.entries(grounds.sides).filter(([, { changes }]) => changes !== undefined),
    );
    for (const change of CHANGES) {
      await measure(`${change}, 1 caller`, 'ms', sides, (side) => changed(side, change, turnMs, ids));
    }
  } finally {
    await grounds.close();
  }
  return result;
}

/** An update that changes nothing writes nothing. */
let revision = 0;

async function changed(
  { changes, put }: GroundedSide,
  change: (typeof CHANGES)[number],
  ms: number,
  ids: readonly number[],
): Promise<Turn> {
  const touched: number[] = [];
  const result = await turn(1, { calls: ids.length, ms }, async (n) => {
    const id = (n * STRIDE) % ids.length;
    touched.push(id);
    await changes?.[change](String(id), ++revision);
  });
  // Each delete meets a row.
  if (change === 'delete') await putAll({ put }, touched);
  return result;
}

async function putAll({ put }: Pick<GroundedSide, 'put'>, ids: readonly number[]): Promise<void> {
  for (let from = 0; from < ids.length; from += 500) {
    await Promise.all(ids.slice(from, from + 500).map((id) => put(product(id))));
  }
}
