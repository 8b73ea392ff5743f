import { type TableColumn, type TableInfo, tableKeySql } from '../../sql/catalog.js';
import { textsSql } from '../../sql/declared.js';
import { atLeast, atMost, equal } from '../../sql/operators.js';
import { identifier, literal } from '../../sql/quote.js';
import { believedSql, limitSql, microsSql, stampAboveSql, toldSql } from '../../sql/stamp.js';

/** Names of what statements return beside a row's own columns. */
export const OUT = {
  key: '#k',
  version: '#v',
  number: '#n',
  locked: '#l',
  tombstone: '#t',
  done: '#d',
  texts: '#s',
  before: '#o',
  after: '#a',
} as const;

/** Arrays side by side. `unnest` of several is syntax, which looks the name up; of one each it is a function. */
export const together = (arrays: readonly string[]): string =>
  `ROWS FROM (${arrays.map((array) => `pg_catalog.unnest(${array})`).join(', ')})`;

/**
 * True, and thought to be so of one record in 200. The planner takes a batch for a hundred records, for which it would
 * read a small table as a whole: with this it looks each up by its key.
 */
const FEW = '"#f" IS NULL';

/** The parts of one table's statements: `t` is the table, `r` the records that travel as JSON. */
export class TableSql {
  readonly info: TableInfo;
  readonly table: string;
  readonly version: string;
  readonly source: string;
  /** The columns that a write returns of a row. */
  readonly returned: readonly string[];

  constructor(info: TableInfo) {
    this.info = info;
    this.table = info.relation;
    this.version = identifier(info.spec.versionColumn);
    this.source = literal(info.source);
    this.returned = this.#columnsWith(`t.${this.version}`);
  }

  #columnsWith(version: string): string[] {
    return [
      `${this.keyOfRow} AS "${OUT.key}"`,
      `${version} AS "${OUT.version}"`,
      ...this.info.columns.map((column) => `t.${identifier(column.name)} AS ${identifier(column.property)}`),
    ];
  }

  /** As `returned`, of a statement that records its rows itself: with the texts of declared columns before and after it. */
  get returnedStamped(): readonly string[] {
    const { declared } = this.info;
    if (declared.columns.length === 0) return this.returned;
    const before = `CASE WHEN old.${this.version} IS NOT NULL THEN ${textsSql(declared, 'old')} END`;
    return [
      ...this.returned,
      `(${before})::pg_catalog.text AS "${OUT.before}"`,
      `${textsSql(declared, 'new')}::pg_catalog.text AS "${OUT.after}"`,
    ];
  }

  /** What the outbox gets of each row that `w` has written. */
  get recordOfEach(): string {
    if (this.info.declared.columns.length > 0) {
      const texts = [OUT.before, OUT.after].map((name) => `"${name}"::pg_catalog.jsonb`).join(', ');
      return `(version, source, key, op, before, after) SELECT "${OUT.version}", ${this.source}, "${OUT.key}", 'p', ${texts} FROM w`;
    }
    return `(version, source, key, op) SELECT "${OUT.version}", ${this.source}, "${OUT.key}", 'p' FROM w`;
  }

  /** The key of a row of the table. */
  get keyOfRow(): string {
    return tableKeySql(this.info, 't');
  }

  /** The columns that a read answers with: as `returned`, with a version that is not believed told as such. */
  get read(): string {
    return this.#columnsWith(this.told).join(', ');
  }

  /** The row's version, told. */
  get told(): string {
    return toldSql(`t.${this.version}`);
  }

  get believed(): string {
    return believedSql(`t.${this.version}`);
  }

  /** The row of a record's key. */
  sameKey(record = 'r'): string {
    return this.info.keyColumns
      .map((key, index) => equal(`t.${identifier(key.column)}`, `${record}."k${index}"`))
      .join(' AND ');
  }

  /** As {@link sameKey}, in a join: of a batch the planner must look each key up. */
  fewOf(record: string, alone: boolean): string {
    return alone ? this.sameKey(record) : `${record}.${FEW} AND ${this.sameKey(record)}`;
  }

  /**
   * Each record of `r` with the version of its row (`#l`) as it is now, not as the snapshot has it: locked in the
   * batch's order.
   */
  get locked(): string {
    return `SELECT r.*, t."#l" FROM r CROSS JOIN LATERAL (SELECT ${this.told} AS "#l" FROM ${this.table} t WHERE ${this.sameKey()} FOR UPDATE) t`;
  }

  /** The version of a record's row as the snapshot has it; NULL where `w` has written it. */
  get toldUnlessWritten(): string {
    const told = `SELECT ${this.told} FROM ${this.table} t WHERE ${this.sameKey()}`;
    return `CASE WHEN w."${OUT.version}" IS NULL THEN (${told}) END`;
  }

  /** The version of a record's tombstone as the snapshot has it. */
  get tombstoneOfRecord(): string {
    return `(SELECT ${toldSql('s.version')} FROM lockstep.tombstone s WHERE ${equal('s.source', this.source)} AND ${equal('s.key', this.rowKey)})`;
  }

  get rowKey(): string {
    const renamed = this.info.keyColumns.map((key, index) => ({ ...key, column: `k${index}` }));
    return tableKeySql({ ...this.info, keyColumns: renamed }, 'r');
  }

  /** The records of a parameter; `alone`: the only one. */
  records(columns: readonly TableColumn[], alone: boolean, parameter = 1): string {
    const fields = [
      ...this.info.keyColumns.map((key, index) => `"k${index}" ${key.type.sqlType}`),
      ...columns.map((column, index) => `"c${index}" ${column.sqlType}`),
      '"#n" pg_catalog.int4, "#f" pg_catalog.int4, "#i" pg_catalog.int8, "#x" pg_catalog.int8, "#b" pg_catalog.text',
    ];
    return `pg_catalog.json_to_record${alone ? '' : 'set'}($${parameter}::pg_catalog.json) AS r(${fields.join(', ')})`;
  }

  /** `r`, as the first of a statement's queries. */
  withRecords(columns: readonly TableColumn[], alone: boolean, where = ''): string {
    return `WITH r AS MATERIALIZED (SELECT * FROM ${this.records(columns, alone)}${where})`;
  }

  /** Types of the key's and the columns' values, in the order of an insert. */
  types(columns: readonly TableColumn[]): string[] {
    return [
      ...this.info.keyColumns.map((key) => key.type.sqlType),
      ...columns.map((column) => column.sqlType),
    ];
  }

  /** Names of key columns that only the database may give a value. */
  get generatedKeys(): readonly string[] {
    const { columns, keyColumns } = this.info;
    const generated = (name: string): boolean =>
      columns.some((each) => each.identityAlways && each.name === name);
    return keyColumns.map(({ column }) => column).filter(generated);
  }

  /**
   * The values of a row's key, in an insert of it. A key that only the database makes is overridden where there is such
   * a row, which the insert then updates; otherwise it becomes NULL, which is refused.
   */
  keyOfInsert(values: readonly string[]): readonly string[] {
    const generated = this.generatedKeys;
    if (generated.length === 0) return values;
    const { keyColumns } = this.info;
    const where = keyColumns.map(({ column }, index) =>
      equal(`e.${identifier(column)}`, values[index] ?? ''),
    );
    const exists = `EXISTS (SELECT FROM ${this.table} e WHERE ${where.join(' AND ')})`;
    return values.map((value, index) =>
      generated.includes(keyColumns[index]?.column ?? '') ? `CASE WHEN ${exists} THEN ${value} END` : value,
    );
  }

  inputs(columns: readonly TableColumn[], drawn = false): string {
    const key = this.info.keyColumns.map((_, index) => `r."k${index}"`);
    return [...(drawn ? key : this.keyOfInsert(key)), ...columns.map((_, index) => `r."c${index}"`)].join(
      ', ',
    );
  }

  /** `INSERT INTO … (…)` of the key, the columns and the version. */
  insertInto(columns: readonly TableColumn[]): string {
    return this.#insertInto(columns, [this.version]);
  }

  /** As {@link insertInto}, without the version. */
  insertPlainInto(columns: readonly TableColumn[]): string {
    return this.#insertInto(columns, []);
  }

  #insertInto(columns: readonly TableColumn[], more: readonly string[]): string {
    const key = this.info.keyColumns.map((each) => each.column);
    const always = this.info.columns.some(
      (each) => each.identityAlways && (columns.includes(each) || key.includes(each.name)),
    );
    const names = [...[...key, ...columns.map((column) => column.name)].map(identifier), ...more].join(', ');
    return `INSERT INTO ${this.table} AS t (${names})${always ? ' OVERRIDING SYSTEM VALUE' : ''}`;
  }

  settable(column: TableColumn): boolean {
    const isKey = this.info.keyColumns.some((key) => key.column === column.name);
    return column.writable && !column.identityAlways && !isKey;
  }

  /** The key's columns. */
  get key(): string {
    return this.info.keyColumns.map((each) => identifier(each.column)).join(', ');
  }

  /** Columns that the value leaves out are proposed with their defaults, and so replaced by these, but for `kept`. */
  onConflict(stamp: string, kept: readonly TableColumn[] = []): string {
    const sets = this.info.columns
      .filter((column) => this.settable(column) && !kept.includes(column))
      .map((column) => `${identifier(column.name)} = EXCLUDED.${identifier(column.name)}`);
    return `ON CONFLICT (${this.key}) DO UPDATE SET ${[...sets, `${this.version} = ${stamp}`].join(', ')}`;
  }

  /**
   * Only tombstones ahead of the clock matter, and there are none unless a clock stepped back: one look says so for all
   * keys.
   */
  aboveTombstone(stamp: string, keys: string): string {
    const range = `${atLeast('version', microsSql('pg_catalog.now()'))} AND ${atMost('version', limitSql())}`;
    return `least(${stamp}, (SELECT ${stampAboveSql('pg_catalog.max(t.version)')} FROM (SELECT source, key, version FROM lockstep.tombstone WHERE ${range} OFFSET 0) t WHERE ${equal('t.source', this.source)} AND ${keys}))`;
  }

  /** Joins what was written to what was proposed: of one row, whatever key a trigger has given it. */
  isWritten(alone: boolean): string {
    return alone && this.info.userTriggers.before ? 'true' : equal(`w."${OUT.key}"`, this.rowKey);
  }

  /** A column that fails the statement when a trigger has given a row another key: each row is then written alone. */
  noneMoved(alone: boolean): string {
    if (alone || !this.info.userTriggers.before) return '';
    const proposed = `SELECT FROM r WHERE ${equal(`w."${OUT.key}"`, this.rowKey)}`;
    return `, (SELECT pg_catalog.concat('a trigger gave a row the key ', w."${OUT.key}")::pg_catalog.int4 FROM w WHERE NOT EXISTS (${proposed}) LIMIT 1) AS "#moved"`;
  }
}
