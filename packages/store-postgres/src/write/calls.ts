import { StoreContractError } from '@lockstep/core';
import { stampAbove } from '../sql/stamp.js';
import { arrayText, textArray } from '../wire/arrays.js';
import type { Call, Statement } from '../wire/pipeline.js';
import type { Group, Item } from './plan.js';
import type { Statements } from './statements/statements.js';

/**
 * The statements of a group, with their parameters.
 *
 * @param mayStamp its statement may stamp and record its rows itself; it says whether it does
 * @param least what all are stamped above, too
 */
export function callsOf(
  { kind, shape, field, items }: Group,
  statements: Statements,
  mayStamp: boolean,
  least: number,
): Call[] {
  const alone = items.length === 1;
  const rows = (): string =>
    alone ? (items[0]?.record ?? '{}') : `[${items.map((item) => item.record).join(',')}]`;
  const above = items.reduce((highest, item) => Math.max(highest, item.above), least);
  const cells = alone ? items[0]?.cells : undefined;
  const mode = cells !== undefined ? 'cells' : mayStamp ? 'stamped' : alone ? 'alone' : 'batch';
  const stamp = mayStamp ? String(above) : stampAbove(above);
  const keys = (): string => arrayText(items.map((item) => item.key));
  const change = (statement: Statement): Call[] => [
    { statement, values: cells === undefined ? [rows(), stamp] : [stamp, ...cells] },
  ];
  switch (kind) {
    case 'put': {
      const [only] = items;
      if (only !== undefined && cells !== undefined) {
        return mayStamp
          ? [{ statement: statements.putOneStamped(shape), values: [stamp, ...cells] }]
          : [{ statement: statements.putOne(shape), values: [stamp, only.key, ...cells] }];
      }
      const put = shape.scalar ? columnsOf(items) : [`[${items.map((item) => item.record).join(',')}]`];
      return mayStamp
        ? [{ statement: statements.putManyStamped(shape), values: [stamp, ...put] }]
        : [{ statement: statements.putMany(shape), values: [stamp, keys(), ...put] }];
    }
    case 'insert':
    case 'create': {
      const insert = statements.insert(shape, alone, kind === 'create');
      return [{ statement: insert, values: [rows(), stamp, keys()] }];
    }
    case 'replace':
      return change(statements.replace(shape, mode));
    case 'patch':
      return change(statements.patch(shape, mode));
    case 'restamp':
      return change(statements.restamp(alone));
    case 'increment':
      if (field === undefined) throw new StoreContractError('an increment names a field');
      return change(statements.increment(field, mode));
    case 'delete':
      return cells === undefined
        ? [{ statement: statements.delete(alone), values: [rows(), String(above)] }]
        : change(statements.deleteOneStamped());
    case 'flushPut':
      return [
        { statement: statements.lockKeys(), values: [keys()] },
        { statement: statements.flushPuts(shape, alone), values: [rows()] },
      ];
    case 'flushDelete': {
      const versions = Object.fromEntries(items.map((item) => [item.key, item.exact]));
      return [
        { statement: statements.lockKeys(), values: [keys()] },
        { statement: statements.flushDeletes(alone), values: [rows(), JSON.stringify(versions)] },
        { statement: statements.endFlush(), values: [] },
      ];
    }
  }
}

/** The cells of items as an array parameter for each column. */
function columnsOf(items: readonly Item[]): Buffer[] {
  const width = items[0]?.cells?.length ?? 0;
  return Array.from({ length: width }, (_, column) =>
    textArray(items.map(({ cells }) => cells?.[column] ?? null)),
  );
}
