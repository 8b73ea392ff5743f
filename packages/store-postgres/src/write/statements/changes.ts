import { raiseTombstone } from '../../attach/triggers/pieces.js';
import type { TableColumn } from '../../sql/catalog.js';
import { equal, operator } from '../../sql/operators.js';
import { identifier } from '../../sql/quote.js';
import {
  believedSql,
  ifBelievedSql,
  microsSql,
  nextDeletedSql,
  nextStampedSql,
  notAheadSql,
  SETTING_DELETE_BASE,
  UNBELIEVED,
} from '../../sql/stamp.js';
import { isPath, type Shape } from '../shape.js';
import { withPath } from './paths.js';
import { OUT, type TableSql } from './table-sql.js';

/**
 * How a change's statement goes: of one row, or of a batch; or of one that it stamps and records by itself: as a record,
 * or as `cells`, each value a parameter, in half the time that a record takes the server.
 */
export type ChangeMode = 'alone' | 'batch' | 'stamped' | 'cells';

/** What the commands bring, as a change's statement names it. */
interface Given {
  /** The value of the shape's column at the place. */
  readonly column: (place: number) => string;
  /** NULL where no version is named. */
  readonly ifVersion: string;
  /** A text. */
  readonly amount: string;
}

const givenBy = (records: string): Given => ({
  column: (place) => `${records}."c${place}"`,
  ifVersion: `${records}."#i"`,
  amount: `${records}."#b"::pg_catalog.text`,
});

/** As parameters: the version to stay above, the key's parts, the version or the amount, the columns. */
function givenAsCells({ info }: TableSql, columns: readonly TableColumn[]): Given {
  const at = info.keyColumns.length + 2;
  return {
    column: (place) => `$${at + 1 + place}::${columns[place]?.sqlType}`,
    ifVersion: `$${at}::pg_catalog.int8`,
    amount: `$${at}::pg_catalog.text`,
  };
}

/** The row of the key that travels as cells. */
const sameCells = ({ info }: TableSql): string =>
  info.keyColumns
    .map(({ column, type }, part) => equal(`t.${identifier(column)}`, `$${part + 2}::${type.sqlType}`))
    .join(' AND ');

/** True, in SQL, of a locked row whose version is believed. A row whose version is not is left as it is, and told. */
export const BELIEVED = operator('l."#l"', '<>', `(${UNBELIEVED})`);

/** A change of rows that are there. */
interface Change {
  readonly columns: readonly TableColumn[];
  /** The statement up to its records, which are named. */
  readonly write: (records: string) => string;
  /** The condition on a row whose version is believed. */
  readonly guard: (given: Given, version: string) => string;
  /** The columns that it returns of a row. */
  readonly returned: readonly string[];
  readonly first?: string;
  /** What is done with the rows that were written. */
  readonly then?: string;
}

/**
 * The rows of a batch are locked in its order, then changed. One row is changed at once, and locked only where it was
 * not: its version tells why. (A trigger that writes the row instead would hide it from that lock: where there are
 * some, it is locked first.) Answers for each row that is there, with its own version where it was not changed.
 */
function changeSql(
  sql: TableSql,
  { columns, first, guard, returned, then = '', write }: Change,
  alone: boolean,
): string {
  const version = `t.${sql.version}`;
  const head = `${sql.withRecords(columns, alone)}${first ?? ''}`;
  const nulls = returned.map(() => 'NULL').join(', ');
  const written = (records: string): string =>
    `${records}."#n" AS "${OUT.number}", NULL::pg_catalog.int8 AS "${OUT.locked}", ${returned.join(', ')}`;
  const { after, before } = sql.info.userTriggers;
  if (alone && !after && !before) {
    return `${head},
w AS (${write('r')} WHERE ${sql.sameKey()} AND ${believedSql(version)} AND ${guard(givenBy('r'), version)} RETURNING ${written('r')}),
l AS (SELECT * FROM (${sql.locked}) l WHERE NOT EXISTS (SELECT FROM w))${then}
SELECT * FROM w UNION ALL SELECT l."#n", l."#l", ${nulls} FROM l`;
  }
  return `${head},
l AS MATERIALIZED (${sql.locked}),
w AS (${write('l')} WHERE ${sql.fewOf('l', alone)} AND ${BELIEVED} AND ${guard(givenBy('l'), 'l."#l"')} RETURNING ${written('l')})
SELECT * FROM w UNION ALL SELECT l."#n", l."#l", ${nulls} FROM l WHERE NOT (l."#n" OPERATOR(pg_catalog.=) ANY (SELECT w."${OUT.number}" FROM w))`;
}

function updateSql(
  sql: TableSql,
  columns: readonly TableColumn[],
  sets: (given: Given) => readonly string[],
  guard: Change['guard'],
  mode: ChangeMode,
): string {
  const { returned, table, version } = sql;
  const record = `o AS (INSERT INTO lockstep.outbox ${sql.recordOfEach})`;
  if (mode === 'cells') {
    const given = givenAsCells(sql, columns);
    const set = [...sets(given), `${version} = ${stampedAbove(sql, '$1::pg_catalog.int8')}`].join(', ');
    return `WITH w AS (UPDATE ${table} t SET ${set} WHERE ${sameCells(sql)} AND ${sql.believed} AND ${guard(given, `t.${version}`)} RETURNING ${returned.join(', ')}),
${record}
SELECT * FROM w`;
  }
  const stamp = mode === 'stamped' ? stampedAbove(sql, '$2::pg_catalog.int8') : '$2::pg_catalog.int8';
  const write = (records: string): string =>
    `UPDATE ${table} t SET ${[...sets(givenBy(records)), `${version} = ${stamp}`].join(', ')} FROM ${records}`;
  const then = mode === 'stamped' ? `,\n${record}` : '';
  return changeSql(sql, { columns, write, guard, returned, then }, mode !== 'batch');
}

/** As the trigger would stamp the row: its own version is the one that it has under the lock, whoever changed it before. */
function stampedAbove(sql: TableSql, above: string): string {
  const believed = `CASE WHEN ${notAheadSql(above)} THEN ${above} END`;
  return nextStampedSql(`greatest(t.${sql.version}, ${believed}, ${microsSql()})`);
}

const isAtVersion: Change['guard'] = ({ ifVersion }, version) => equal(version, ifVersion);

const isAtVersionIfAny: Change['guard'] = ({ ifVersion }, version) =>
  `(${ifVersion} IS NULL OR ${equal(ifVersion, version)})`;

/**
 * Puts of rows that still are at a version. $1: rows with `#i`, $2: stamp; of what stamps itself the version to stay above.
 * As cells: {@link givenAsCells}; one that has changed nothing does not say why.
 */
export function replaceSql(sql: TableSql, { columns }: Shape, mode: ChangeMode): string {
  const defaults = sql.info.columns
    .filter((column) => sql.settable(column) && !columns.includes(column))
    .map((column) => `${identifier(column.name)} = DEFAULT`);
  const sets = (given: Given): string[] => [
    ...columns.flatMap((column, index) =>
      column.identityAlways ? [] : [`${identifier(column.name)} = ${given.column(index)}`],
    ),
    ...defaults,
  ];
  return updateSql(sql, columns, sets, isAtVersion, mode);
}

/** Some columns of rows, that still are at a version where one is named. $1: rows with `#i` or without, the rest as {@link replaceSql}. */
export function patchSql(sql: TableSql, { columns, unset = [] }: Shape, mode: ChangeMode): string {
  const sets = (given: Given): string[] => [
    ...assignments(columns, given.column),
    ...unset.map((column) => `${identifier(column.name)} = DEFAULT`),
  ];
  return updateSql(sql, columns, sets, isAtVersionIfAny, mode);
}

/** A column once, with all that is set in it: the column itself comes before what paths lead to. */
export function assignments(columns: Shape['columns'], valueAt: Given['column']): string[] {
  const values = new Map<string, string>();
  columns.forEach((column, index) => {
    const [name, value] = [identifier(column.name), valueAt(index)];
    if (!isPath(column)) values.set(name, value);
    else {
      const document = `(${values.get(name) ?? `t.${name}`})::pg_catalog.jsonb`;
      values.set(name, withPath(document, column.property, `(${value})::pg_catalog.jsonb`));
    }
  });
  return [...values].map(([name, value]) => `${name} = ${value}`);
}

/** New versions for rows that still are at one. $1: rows with `#i`, $2: stamp. */
export function restampSql(sql: TableSql, alone: boolean): string {
  return updateSql(sql, [], () => [], isAtVersion, alone ? 'alone' : 'batch');
}

/** Sums. $1: rows with `#b`, the rest as {@link replaceSql}. A NULL stays as it is, and is not returned. */
export function incrementSql(sql: TableSql, column: TableColumn, mode: ChangeMode): string {
  const name = identifier(column.name);
  const sets = ({ amount }: Given): string[] => [
    `${name} = ${operator(`t.${name}`, '+', `${amount}::${column.sqlType}`, column.operators)}`,
  ];
  return updateSql(sql, [], sets, () => `t.${name} IS NOT NULL`, mode);
}

/** Deletes. $1: rows with `#i` or without, $2: the version to stay above. */
export function deleteSql(sql: TableSql, alone: boolean): string {
  const above = '$2::pg_catalog.int8';
  return changeSql(
    sql,
    {
      columns: [],
      first: `,
h AS MATERIALIZED (SELECT pg_catalog.set_config('${SETTING_DELETE_BASE}', greatest(${ifBelievedSql(above)}, ${microsSql()})::pg_catalog.text, true)::pg_catalog.int8 AS base)`,
      write: (records) => `DELETE FROM ${sql.table} t USING ${records} CROSS JOIN h`,
      guard: isAtVersionIfAny,
      returned: [`${nextDeletedSql(`greatest(t.${sql.version}, h.base)`)} AS "${OUT.version}"`],
    },
    alone,
  );
}

/**
 * One delete, which stamps and records what it deletes by itself, as the trigger would: no trigger is called for it.
 * Parameters as {@link givenAsCells}. Answers with the row's version where it was not deleted.
 */
export function deleteOneStampedSql(sql: TableSql): string {
  const { believed, keyOfRow, source, table, told, version } = sql;
  const given = givenAsCells(sql, []);
  const base = `greatest(t.${version}, ${ifBelievedSql('$1::pg_catalog.int8')}, ${microsSql()})`;
  const returned = `${keyOfRow} AS "${OUT.key}", ${nextDeletedSql(base)} AS "${OUT.version}"`;
  return `WITH w AS (DELETE FROM ${table} t WHERE ${sameCells(sql)} AND ${believed} AND ${isAtVersionIfAny(given, `t.${version}`)} RETURNING ${returned}),
b AS (INSERT INTO lockstep.tombstone AS t (source, key, version) SELECT ${source}, "${OUT.key}", "${OUT.version}" FROM w ${raiseTombstone}),
o AS (INSERT INTO lockstep.outbox (version, source, key, op) SELECT "${OUT.version}", ${source}, "${OUT.key}", 'd' FROM w)
SELECT "${OUT.version}", NULL::pg_catalog.int8 AS "${OUT.locked}" FROM w
UNION ALL SELECT NULL, l."${OUT.locked}" FROM (SELECT ${told} AS "${OUT.locked}" FROM ${table} t WHERE ${sameCells(sql)} FOR UPDATE) l WHERE NOT EXISTS (SELECT FROM w)`;
}
