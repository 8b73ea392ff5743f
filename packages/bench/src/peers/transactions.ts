import { TURN_MS, turn } from '../bursts/turn.js';
import { type CaseResult, caseOf, tableOf } from './figures.js';
import { GROUND, type GroundOptions, openGrounds } from './ground.js';
import { figuresInTurns } from './turns.js';

export interface TransactionsOptions extends GroundOptions {
  readonly turns: number;
  readonly turnMs: number;
  readonly callers: readonly number[];
  readonly rows: number;
}

export const TRANSACTIONS: TransactionsOptions = {
  ...GROUND,
  peers: ['by hand', 'tuned by hand', 'bentocache'],
  limit: true,
  turns: 3,
  turnMs: TURN_MS,
  callers: [1, 32],
  rows: 3,
};

/** Several rows of the table in one transaction, and then into the cache. */
export async function runTransactions(
  { callers, rows, turnMs, turns, ...ground }: TransactionsOptions,
  progress: (line: string) => void,
): Promise<Readonly<Record<string, CaseResult>>> {
  const grounds = await openGrounds(ground);
  const result: Record<string, CaseResult> = {};
  // Callers meet no row that another one has locked: a row is written again long after.
  const rowsOf = (n: number) =>
    Array.from({ length: rows }, (_, i) => ({ ...grounds.row((n * rows + i) % ground.products), stock: n }));
  try {
    for (const count of callers) {
      const measured = await figuresInTurns(grounds.sides, turns, async (side) => {
        const { p50Ms, perSecond } = await turn(count, { ms: turnMs }, (n) => side.transact(rowsOf(n)));
        return count === 1 ? p50Ms : perSecond;
      });
      const key = `${rows} rows, ${count} ${count === 1 ? 'caller' : 'callers'}`;
      result[key] = count === 1 ? caseOf('ms', 'less', measured) : caseOf('transactions/s', 'more', measured);
      progress(tableOf(key, result[key]));
    }
  } finally {
    await grounds.close();
  }
  return result;
}
