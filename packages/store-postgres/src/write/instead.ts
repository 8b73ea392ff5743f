import { type StoreOutcome, StoreRefusedError } from '@lockstep/core';
import type { KeyCodec } from '../keys/codec.js';
import { microsSql } from '../sql/stamp.js';
import { rowValue } from '../values/rows.js';
import { type Call, type Row, statement } from '../wire/pipeline.js';
import { readRows, Written } from './followed.js';
import type { Item } from './plan.js';
import type { Statements } from './statements/statements.js';
import { OUT } from './statements/table-sql.js';
import { versionOf } from './versions.js';

const NOW = statement(`SELECT ${microsSql()}::pg_catalog.text AS "#now"`, false);

/**
 * Finds what triggers have made of puts whose rows they have dropped. One that drops what is to be inserted may have
 * written the row by itself (merged it into one that is there), and the statement, which has no row then, does not tell.
 *
 * @param send sends the calls behind the puts
 * @param elapsedUs how long ago the puts were sent, at most
 */
export async function findWrittenInstead<Value>(
  items: readonly Item[],
  outcomes: (StoreOutcome<Value> | undefined)[],
  statements: Statements,
  codec: KeyCodec,
  send: (items: readonly Item[], calls: readonly Call[]) => Promise<Row[][]>,
  elapsedUs: () => number,
): Promise<void> {
  const dropped = items.filter(({ index }) => {
    const outcome = outcomes[index];
    return outcome?.kind === 'failed' && outcome.error instanceof StoreRefusedError;
  });
  if (dropped.length === 0) return;
  // Not to be read: what is known stays as it is.
  const [rows = [], now = []] = await send(dropped, [
    readRows(dropped, statements, codec),
    { statement: NOW, values: [] },
  ]).catch(() => []);
  const since = Number(now[0]?.meta['#now']) - elapsedUs();
  const byKey = new Map(rows.map((row) => [row.meta[OUT.key], row]));
  for (const { index, key } of dropped) {
    const row = byKey.get(key);
    const version = row === undefined ? 0 : versionOf(row.meta[OUT.version]);
    if (row !== undefined && version >= since) outcomes[index] = new Written(rowValue<Value>(row), version);
  }
}
