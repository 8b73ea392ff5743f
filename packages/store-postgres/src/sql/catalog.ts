import { InvalidOptionError } from '@lockstep/core';
import { STAMP, type UserTriggers, userTriggers } from '../attach/user-triggers.js';
import { type KeyColumn, keySql } from '../keys/codec.js';
import { type KeyType, keyType } from '../keys/types.js';
import { CATALOG, type RawColumn, type RawTable, type WeakTrigger } from './catalog-query.js';
import { checkKeyIndex } from './key-index.js';
import { type ColumnKind, kindOf } from './kinds.js';
import { identifier } from './quote.js';
import { unseenChanges } from './unseen.js';

/** The triggers that record all rows of a statement. */
export const BULK_TRIGGERS: readonly string[] = [
  'lockstep_record_inserts',
  'lockstep_record_updates',
  'lockstep_record_deletes',
];

/** Runs one statement on some connection and gives its rows. */
export type Run = (sql: string, values?: readonly string[]) => Promise<readonly Record<string, unknown>[]>;

/** The table as a binding describes it. */
export interface TableSpec {
  readonly schema: string;
  readonly table: string;
  /** Properties of the key, in order. */
  readonly key: readonly string[];
  /** Property to column, where they differ. */
  readonly columns: Readonly<Record<string, string>>;
  readonly versionColumn: string;
}

export interface TableColumn {
  readonly name: string;
  readonly property: string;
  readonly sqlType: string;
  /** The type, with what makes another of it: a precision, but not a length. */
  readonly type: string;
  readonly kind: ColumnKind;
  /** The type under its domains, by schema and name, and the number that rows are described with. */
  readonly typeId: string;
  readonly oid: number;
  readonly array: boolean;
  readonly enumerated: boolean;
  /** The schema of its type, which has the type's operators; quoted. */
  readonly operators: string;
  /** False for generated columns, which Postgres computes itself. */
  readonly writable: boolean;
  /** `GENERATED ALWAYS AS IDENTITY`. */
  readonly identityAlways: boolean;
  /** How its values become canonical text, or why they have none. */
  readonly textType: KeyType | string;
}

/** Sets of columns whose values each change tells: as they were attached. */
export interface DeclaredColumns {
  readonly unique: readonly (readonly string[])[];
  readonly tags: readonly (readonly string[])[];
  /** The columns of all sets. */
  readonly columns: readonly KeyColumn[];
}

export const NOTHING_DECLARED: DeclaredColumns = { unique: [], tags: [], columns: [] };

/** A table as the catalogue describes it, with its key resolved. */
export interface TableInfo {
  readonly spec: TableSpec;
  /** The feed's name for it, `schema.table`. */
  readonly source: string;
  /** Quoted, with its schema. */
  readonly relation: string;
  readonly partitioned: boolean;
  /** True where rows that a statement of others writes are recorded together. */
  readonly bulk: boolean;
  /** It is a partition, or inherits from another table: statements on that one write its rows, too. */
  readonly inherits: boolean;
  /** Quoted relations of its leaf partitions; of a plain table, itself. */
  readonly leaves: readonly string[];
  /** The transaction that changed the columns last. */
  readonly order: number;
  /** Every column but the version. */
  readonly columns: readonly TableColumn[];
  readonly keyColumns: readonly KeyColumn[];
  /** Nothing unless the attachment says so. */
  readonly declared: DeclaredColumns;
  /** The columns of each unique index that is neither partial, nor deferrable, nor of an expression. */
  readonly uniques: readonly (readonly string[])[];
  readonly hasVersion: boolean;
  /** The outbox has an index of what others did to rows; absent: not asked. */
  readonly findsOthers?: boolean;
  /** Names of Lockstep's triggers that are there and enabled. */
  readonly triggers: readonly string[];
  /** Why changes of its rows may go unseen. */
  readonly unseen: string | undefined;
  /** The table itself, whatever its name: another may be given that name. */
  readonly oid: string;
  readonly userTriggers: UserTriggers;
  /** Leaf partitions whose TRUNCATE is not recorded. */
  readonly untruncated: readonly string[];
  /** Lockstep's triggers, of the table and its partitions, that don't fire for everybody. */
  readonly weakTriggers: readonly WeakTrigger[];
  /**
   * Whether statements of this session may stamp and record the rows that they put: its roles have a mark, and nothing
   * that they evaluate may write rows of the table on their behalf, which no trigger would see.
   */
  readonly stampsItself: boolean;
  /** Likewise of rows that they delete: no release attached the table that records all deletes. */
  readonly deletesItself: boolean;
  /** What the mark says of declared columns: `declaredMark`, as they were attached; empty where there is no mark. */
  readonly markedFor: string;
  /** The server's statements return what a row was before them: from Postgres 18 on. */
  readonly returnsOld: boolean;
  /** True of a session in which triggers fire that are to fire in replication. */
  readonly isReplica: boolean;
}

export function relationOf(spec: TableSpec): string {
  return `${identifier(spec.schema)}.${identifier(spec.table)}`;
}

/**
 * Reads a table from the catalogue and resolves its key. Throws `InvalidOptionError` naming what does
 * not fit: no such table or column, a key that is not unique, a key type without one canonical text.
 *
 * @param again mapped columns may be gone since
 */
export async function describeTable(run: Run, spec: TableSpec, again = false): Promise<TableInfo> {
  const [answer] = await run(CATALOG, [spec.schema, spec.table]);
  const raw = answer as unknown as RawTable | undefined;
  const source = `${spec.schema}.${spec.table}`;
  if (raw === undefined || raw.kind === null || raw.columns === null) {
    throw new InvalidOptionError('table', `there is no table ${source} in this database`);
  }
  if (raw.kind !== 'r' && raw.kind !== 'p') {
    throw new InvalidOptionError('table', `${source} is a view or a foreign table; bind the table itself`);
  }
  const propertyOf = new Map(Object.entries(spec.columns).map(([property, column]) => [column, property]));
  checkMapping(spec, raw.columns, source, again);
  for (const { name } of raw.columns) {
    const property = propertyOf.get(name) ?? name;
    // Rows are objects: setting `__proto__` sets none of their properties.
    if (!property.startsWith('#') && property !== '__proto__') continue;
    const problem = `map column "${name}" of ${source} to a property that does not start with #, and is not __proto__`;
    throw new InvalidOptionError('columns', problem);
  }
  const key = spec.key.map((property) => keyColumn(property, spec, raw.columns ?? [], source));
  checkKeyIndex(key, raw, { source, relation: relationOf(spec) });
  const columns = raw.columns
    .filter((column) => column.name !== spec.versionColumn)
    .map(
      (column): TableColumn => ({
        name: column.name,
        property: propertyOf.get(column.name) ?? column.name,
        sqlType: column.sqlType,
        type: `${column.sqlType}${column.modifier < 0 || column.category === 'S' ? '' : ` ${column.modifier}`}`,
        kind:
          column.baseKind === 'c' ? 'composite' : kindOf(column.elementId ?? column.baseId, column.category),
        typeId: column.baseId,
        oid: column.baseOid,
        array: column.elementId !== null,
        enumerated: column.baseKind === 'e',
        operators: column.baseSchema,
        writable: !column.generated,
        identityAlways: column.identity === 'a',
        textType: textTypeOf(column),
      }),
    );
  return {
    spec,
    source,
    relation: relationOf(spec),
    partitioned: raw.kind === 'p',
    bulk: (raw.triggers ?? []).some((name) => BULK_TRIGGERS.includes(name)),
    inherits: raw.inherits,
    leaves: raw.leaves ?? [],
    order: Number(raw.order),
    columns,
    declared: NOTHING_DECLARED,
    uniques: (raw.uniques ?? []).map((index) => namesOfIndex(index, raw.columns ?? [])),
    keyColumns: key.map(({ column, property, type }) => ({ column, property, type })),
    hasVersion: raw.columns.some((column) => column.name === spec.versionColumn),
    triggers: raw.triggers ?? [],
    unseen: unseenChanges(raw, relationOf(spec)),
    oid: raw.oid,
    userTriggers: userTriggers(raw.others ?? []),
    untruncated: raw.untruncated ?? [],
    weakTriggers: raw.weakTriggers ?? [],
    stampsItself: raw.markedFor !== null && !raw.calls,
    deletesItself: raw.deletesMarked === true && !raw.calls,
    markedFor: raw.markedFor ?? '',
    returnsOld: raw.returnsOld,
    isReplica: raw.replicationRole === 'replica',
  };
}

/** The canonical key over a row reference (`NEW`, a table alias, a quoted relation). */
export function tableKeySql(info: TableInfo, row: string): string {
  return keySql(info.keyColumns, (column) => `${row}.${identifier(column.column)}`);
}

/** Throws `InvalidOptionError` for a table that triggers can't keep in step. */
export function assertSeen({ relation, source, unseen, userTriggers: { late } }: TableInfo): void {
  const problem =
    unseen ??
    (late.length === 0
      ? undefined
      : `its trigger ${late.join(', ')} fires after ${STAMP}, whose record of the row it may change: give it a name that sorts before that (ALTER TRIGGER ${identifier(late[0] ?? '')} ON ${relation} RENAME TO …)`);
  if (problem !== undefined)
    throw new InvalidOptionError('table', `${source} can't be kept in step: ${problem}`);
}

function checkMapping(spec: TableSpec, columns: readonly RawColumn[], source: string, again: boolean): void {
  const names = new Set(columns.map((column) => column.name));
  const seen = new Map<string, string>();
  for (const [property, column] of Object.entries(spec.columns)) {
    if (!names.has(column)) {
      if (again) continue;
      throw new InvalidOptionError(`columns.${property}`, `${source} has no column "${column}"`);
    }
    if (column === spec.versionColumn) {
      throw new InvalidOptionError(
        `columns.${property}`,
        `"${column}" is the version column, which rows do not show`,
      );
    }
    const other = seen.get(column);
    if (other !== undefined)
      throw new InvalidOptionError(`columns.${property}`, `"${column}" is mapped by ${other} too`);
    seen.set(column, property);
    if (names.has(property) && property !== column && !Object.values(spec.columns).includes(property)) {
      throw new InvalidOptionError(
        `columns.${property}`,
        `${source} has a column of that name, which is not mapped`,
      );
    }
  }
}

function keyColumn(
  property: string,
  spec: TableSpec,
  columns: readonly RawColumn[],
  source: string,
): KeyColumn & { readonly number: number } {
  const name = spec.columns[property] ?? property;
  const column = columns.find((each) => each.name === name);
  if (column === undefined) throw new InvalidOptionError('key', `${source} has no column "${name}"`);
  if (column.generated) {
    const generated =
      "is generated: writers can't set it, and triggers see no value of it before the row is written";
    throw new InvalidOptionError('key', `column "${name}" of ${source} ${generated}`);
  }
  if (!column.notNull) {
    const mend = `ALTER TABLE ${relationOf(spec)} ALTER COLUMN ${identifier(name)} SET NOT NULL`;
    throw new InvalidOptionError('key', `column "${name}" of ${source} must be NOT NULL: ${mend}`);
  }
  const type = textTypeOf(column);
  if (typeof type === 'string') {
    throw new InvalidOptionError(
      'key',
      `column "${name}" of ${source} is ${column.shown}, which can't be a key: ${type}`,
    );
  }
  return { column: name, property, type, number: column.number };
}

function textTypeOf(column: RawColumn): KeyType | string {
  if (column.baseKind === 'e' && column.sqlType !== column.baseSql) {
    return "it is a domain over an enum, of which the server's own functions take none";
  }
  return keyType({
    typeId: column.baseId,
    sqlType: column.baseSql,
    typeKind: column.baseKind,
    typeModifier: column.modifier,
    deterministic: column.deterministic,
    labels: column.labels ?? [],
  });
}

function namesOfIndex(numbers: string, columns: readonly RawColumn[]): string[] {
  return numbers
    .split(' ')
    .map((number) => columns.find((each) => each.number === Number(number))?.name ?? '');
}
