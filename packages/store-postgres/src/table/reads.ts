import type { StoreCallOptions, StoreRow, StoreTransaction } from '@lockstep/core';
import { isStalePlan } from '../errors.js';
import { lastReadsOf } from '../transactions/handle.js';
import { rowValue } from '../values/rows.js';
import type { Row } from '../wire/pipeline.js';
import { OUT } from '../write/statements/table-sql.js';
import { versionOf } from '../write/versions.js';
import type { OpenedTable } from './opened.js';
import { noteAltered, type TableShape } from './shape.js';

/** An answer's rows, key by key. */
export function rowsAt<Value>(
  rows: readonly Row[],
  keys: readonly string[],
): (StoreRow<Value> | undefined)[] {
  const found = new Map(rows.map((row) => [String(row.meta[OUT.key]), row]));
  return keys.map((key) => {
    const row = found.get(key);
    if (row === undefined) return undefined;
    // One that is not to be believed fails the reader of this row: the engine checks each row on its own.
    return { key, value: rowValue<Value>(row), version: versionOf(row.meta[OUT.version]) };
  });
}

/** Has a row read in one message with a transaction's commit; `undefined`: it has to be read before. */
export function readLast<Value>(
  key: string,
  { codec, plain, statements }: OpenedTable<Value>,
  shape: TableShape,
  { timeoutMs, tx }: StoreCallOptions & { readonly tx: StoreTransaction },
): (() => readonly Row[]) | undefined {
  const { described, known } = shape;
  return plain === undefined
    ? lastReadsOf(tx)?.({
        call: { statement: statements.readOne(), values: codec.inputs(key) },
        described,
        failed: async (error) => {
          const altered = await shape.altered(error, known, timeoutMs);
          // Another connection may have met the change before: the plan of this one is forgotten by now, too.
          if (altered || isStalePlan(error)) noteAltered(error);
        },
      })
    : undefined;
}
