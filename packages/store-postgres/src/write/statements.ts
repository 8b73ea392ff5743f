import { type TableColumn, type TableInfo, tableKeySql } from '../sql/catalog.js';
import { atLeast, atMost, below, equal, isIn, operator } from '../sql/operators.js';
import { identifier, literal } from '../sql/quote.js';
import {
  believedSql,
  ifBelievedSql,
  limitSql,
  microsSql,
  nextOwnSql,
  nextStampedSql,
  notAheadSql,
  SETTING_DELETE_BASE,
  SETTING_DELETE_EXACT,
  stampAboveSql,
  stampExactlySql,
  toldSql,
  UNBELIEVED,
} from '../sql/stamp.js';
import { type Statement, statement } from '../wire/pipeline.js';
import type { Shape } from './shape.js';

/** Names of what statements return beside a row's own columns. */
export const OUT = {
  key: '#k',
  version: '#v',
  number: '#n',
  locked: '#l',
  tombstone: '#t',
  done: '#d',
} as const;

/**
 * Shapes beyond these (each its own statement) are not prepared: a table whose values come in endless
 * shapes must not fill the server's memory with plans.
 */
const MAX_STATEMENTS = 64;

const sameNumber = (one: string, other: string): string => equal(`${one}."#n"`, `${other}."#n"`);

/** Of a locked row. What is not believed is left as it is, and told. */
const BELIEVED = operator('l."#l"', '<>', `(${UNBELIEVED})`);

/** Locked rows beside what is to become of them. */
const LOCKED = `l JOIN r ON ${sameNumber('r', 'l')}`;

/** Arrays side by side. `unnest` of several is syntax, which looks the name up; of one each it is a function. */
const together = (arrays: readonly string[]): string =>
  `ROWS FROM (${arrays.map((array) => `pg_catalog.unnest(${array})`).join(', ')})`;

/**
 * The SQL of one table. Batches travel as one JSON parameter, blind puts of scalar columns as an array
 * of texts for each column, so that a batch of any size is one prepared statement. Each locks its rows in
 * the batch's order, which is the same everywhere.
 */
export class Statements {
  readonly #info: TableInfo;
  readonly #prepared: boolean;
  readonly #cache = new Map<string, Statement>();
  readonly #table: string;
  readonly #version: string;
  readonly #source: string;
  readonly #returned: string;
  /** As `#returned`, with a version that is not believed told as such. */
  readonly #read: string;

  constructor(info: TableInfo, prepared: boolean) {
    this.#info = info;
    this.#prepared = prepared;
    this.#table = info.relation;
    this.#version = identifier(info.spec.versionColumn);
    this.#source = literal(info.source);
    const returned = (version: string): string =>
      [
        `${tableKeySql(info, 't')} AS "${OUT.key}"`,
        `${version} AS "${OUT.version}"`,
        ...info.columns.map((column) => `t.${identifier(column.name)} AS ${identifier(column.property)}`),
      ].join(', ');
    this.#returned = returned(`t.${this.#version}`);
    this.#read = returned(this.#told);
  }

  /** $1…: the key's parts. */
  readOne(): Statement {
    return this.#get('readOne', () => {
      const where = this.#info.keyColumns.map((key, index) =>
        equal(`t.${identifier(key.column)}`, `$${index + 1}::${key.type.sqlType}`),
      );
      return `SELECT ${this.#read} FROM ${this.#table} t WHERE ${where.join(' AND ')}`;
    });
  }

  /** $1…: an array for each part of the keys. */
  readMany(): Statement {
    return this.#get('readMany', () => {
      const keys = this.#info.keyColumns;
      const arrays = keys.map((key, index) => `$${index + 1}::${key.type.sqlType}[]`);
      const [first] = keys;
      const where =
        keys.length === 1 && first !== undefined
          ? isIn(`t.${identifier(first.column)}`, `${arrays[0]}`)
          : isIn(
              `(${keys.map((key) => `t.${identifier(key.column)}`).join(', ')})`,
              `SELECT * FROM ${together(arrays)}`,
            );
      return `SELECT ${this.#read} FROM ${this.#table} t WHERE ${where}`;
    });
  }

  /** Whether triggers may write a row again once a statement has. */
  get followed(): boolean {
    return this.#info.userTriggers.after;
  }

  /** What triggers have put off until the commit happens now. `undefined`: they put off nothing. */
  now(): Statement | undefined {
    if (!this.#info.userTriggers.deferred) return undefined;
    return this.#get('now', () => 'SET CONSTRAINTS ALL IMMEDIATE');
  }

  /** One blind put. $1: stamp, $2: key, then the key's parts, then the shape's columns. */
  putOne(shape: Shape): Statement {
    return this.#get(`putOne ${shape.id}`, () => {
      const { names, overriding } = this.#target(shape.columns);
      const parameters = [
        ...this.#info.keyColumns.map((key) => key.type.sqlType),
        ...shape.columns.map((column) => column.sqlType),
      ].map((type, index) => `$${index + 3}::${type}`);
      const stamp = this.#aboveTombstone('$1::pg_catalog.int8', equal('t.key', '$2::pg_catalog.text'));
      return `INSERT INTO ${this.#table} AS t (${names}, ${this.#version})${overriding} VALUES (${parameters.join(', ')}, ${stamp})
${this.#onConflict('$1::pg_catalog.int8')} WHERE ${this.#believed} RETURNING ${this.#returned}`;
    });
  }

  /** Blind puts. $1: stamp, $2: their keys, then the rows. */
  putMany(shape: Shape): Statement {
    return this.#get(`putMany ${shape.id}`, () => {
      const { names, overriding } = this.#target(shape.columns);
      const stamp = this.#aboveTombstone('$1::pg_catalog.int8', isIn('t.key', '$2::pg_catalog.text[]'));
      return `INSERT INTO ${this.#table} AS t (${names}, ${this.#version})${overriding} ${this.#putRows(shape, 3, stamp)}
${this.#onConflict('$1::pg_catalog.int8')} WHERE ${this.#believed} RETURNING ${this.#returned}`;
    });
  }

  /**
   * As {@link putOne} on its own, which stamps and records what it writes without calling a trigger for
   * it: under the row's lock, too, since that is when a conflict's assignments are computed. A row that
   * is new still meets the trigger that looks for a concurrent delete. $1: the version to stay above.
   */
  putOneStamped(shape: Shape): Statement {
    return this.#get(`putOneStamped ${shape.id}`, () => {
      const parameters = [
        ...this.#info.keyColumns.map((key) => key.type.sqlType),
        ...shape.columns.map((column) => column.sqlType),
      ].map((type, index) => `$${index + 2}::${type}`);
      const record = `(version, source, key, op) SELECT "${OUT.version}", ${this.#source}, "${OUT.key}", 'p' FROM w`;
      return this.#stamped(shape, (stamp) => `VALUES (${parameters.join(', ')}, ${stamp})`, record);
    });
  }

  /**
   * As {@link putMany}, likewise; all are recorded in one row of the outbox, whose own key and version are
   * those of the first row returned. $1: the version to stay above, then the rows.
   */
  putManyStamped(shape: Shape): Statement {
    return this.#get(`putManyStamped ${shape.id}`, () => {
      const record = `(version, source, key, op, keys, versions)
SELECT a.versions[1], ${this.#source}, a.keys[1], 'p', a.keys, a.versions
FROM (SELECT pg_catalog.array_agg("${OUT.key}") AS keys, pg_catalog.array_agg("${OUT.version}") AS versions FROM w) AS a WHERE a.keys IS NOT NULL`;
      return this.#stamped(shape, (stamp) => this.#putRows(shape, 2, stamp), record);
    });
  }

  #stamped(shape: Shape, rows: (stamp: string) => string, record: string): string {
    const { names, overriding } = this.#target(shape.columns);
    const above = '$1::pg_catalog.int8';
    const inserted = nextStampedSql(
      `greatest(CASE WHEN ${notAheadSql(above)} THEN ${above} END, ${microsSql()})`,
    );
    // What was proposed is above `$1` already.
    const updated = nextStampedSql(`greatest(t.${this.#version}, EXCLUDED.${this.#version}, ${microsSql()})`);
    return `WITH w AS (INSERT INTO ${this.#table} AS t (${names}, ${this.#version})${overriding} ${rows(inserted)}
${this.#onConflict(updated)} WHERE ${this.#believed} RETURNING ${this.#returned}),
o AS (INSERT INTO lockstep.outbox ${record})
SELECT * FROM w`;
  }

  /** The rows of puts from parameter `first` on: an array of texts for each column, or all as JSON. */
  #putRows({ columns, scalar }: Shape, first: number, stamp: string): string {
    if (!scalar) return `SELECT ${this.#inputs(columns)}, ${stamp} FROM ${this.#rows(columns, first)}`;
    const types = [
      ...this.#info.keyColumns.map((key) => key.type.sqlType),
      ...columns.map((column) => column.sqlType),
    ];
    const cells = types.map((type, index) => `r.c${index}::${type}`);
    const arrays = types.map((_, index) => `$${first + index}::pg_catalog.text[]`);
    const names = types.map((_, index) => `c${index}`);
    return `SELECT ${cells.join(', ')}, ${stamp} FROM ${together(arrays)} AS r(${names.join(', ')})`;
  }

  /** Puts where there is no row. Parameters as in {@link putMany}. `alone`: of one row only. */
  insertMany(shape: Shape, alone: boolean): Statement {
    return this.#get(`insertMany ${shape.id}${this.#variant(alone)}`, () => {
      const { names, overriding } = this.#target(shape.columns);
      const stamp = this.#aboveTombstone('$2::pg_catalog.int8', isIn('t.key', '$3::pg_catalog.text[]'));
      return `WITH r AS MATERIALIZED (SELECT * FROM ${this.#rows(shape.columns)}),
w AS (INSERT INTO ${this.#table} AS t (${names}, ${this.#version})${overriding}
SELECT ${this.#inputs(shape.columns)}, ${stamp} FROM r ON CONFLICT DO NOTHING RETURNING ${this.#returned})
SELECT r."#n" AS "${OUT.number}", ${this.#told} AS "${OUT.locked}", w.*${this.#noneMoved(alone)} FROM r
LEFT JOIN ${this.#table} t ON ${this.#sameKey} LEFT JOIN w ON ${this.#isWritten(alone)}`;
    });
  }

  /** Puts of rows that still are at a version. $1: rows with `#i`, $2: stamp. */
  replaceMany(shape: Shape): Statement {
    const defaults = this.#info.columns
      .filter((column) => this.#settable(column) && !shape.columns.includes(column))
      .map((column) => `${identifier(column.name)} = DEFAULT`);
    return this.#guarded(
      `replaceMany ${shape.id}`,
      shape.columns,
      [
        ...shape.columns.flatMap((column, index) =>
          column.identityAlways ? [] : [`${identifier(column.name)} = r."c${index}"`],
        ),
        ...defaults,
      ],
      equal('l."#l"', 'r."#i"'),
    );
  }

  /** New versions for rows that still are at one. Parameters as in {@link replaceMany}. */
  restampMany(): Statement {
    return this.#guarded('restampMany', [], [], equal('l."#l"', 'r."#i"'));
  }

  /** Sums. $1: rows with `#b`, $2: stamp. A NULL stays as it is, and is not returned. */
  incrementMany(column: TableColumn): Statement {
    const name = identifier(column.name);
    return this.#guarded(
      `incrementMany ${column.name}`,
      [],
      [
        `${name} = ${operator(`t.${name}`, '+', `r."#b"::pg_catalog.text::${column.sqlType}`, column.operators)}`,
      ],
      `t.${name} IS NOT NULL`,
    );
  }

  /** Deletes. $1: rows with `#i` or without, $2: the version to stay above. */
  deleteMany(): Statement {
    return this.#get('deleteMany', () => {
      return `WITH h AS MATERIALIZED (SELECT pg_catalog.set_config('${SETTING_DELETE_BASE}', greatest(${ifBelievedSql('$2::pg_catalog.int8')}, ${microsSql()})::pg_catalog.text, true)::pg_catalog.int8 AS base),
r AS MATERIALIZED (SELECT * FROM ${this.#rows([])}), ${this.#lock},
d AS (DELETE FROM ${this.#table} t USING ${LOCKED} CROSS JOIN h
WHERE ${this.#sameKey} AND ${BELIEVED} AND (r."#i" IS NULL OR ${equal('r."#i"', 'l."#l"')}) RETURNING l."#n", ${nextOwnSql(`greatest(t.${this.#version}, h.base)`)} AS "${OUT.version}")
SELECT l."#n" AS "${OUT.number}", l."#l" AS "${OUT.locked}", d."${OUT.version}" FROM l LEFT JOIN d ON ${sameNumber('d', 'l')}`;
    });
  }

  /** Buffered puts. $1: rows with `#x`, their versions. `alone`: of one row only. */
  flushPuts(shape: Shape, alone: boolean): Statement {
    return this.#get(`flushPuts ${shape.id}${this.#variant(alone)}`, () => {
      const { names, overriding } = this.#target(shape.columns);
      return `WITH r AS MATERIALIZED (SELECT * FROM ${this.#rows(shape.columns)} WHERE ${believedSql('r."#x"')}),
w AS (INSERT INTO ${this.#table} AS t (${names}, ${this.#version})${overriding}
SELECT ${this.#inputs(shape.columns)}, ${stampExactlySql('r."#x"')} FROM r
${this.#onConflict(stampExactlySql(`EXCLUDED.${this.#version}`))} WHERE ${below(`t.${this.#version}`, `EXCLUDED.${this.#version}`)} AND ${this.#believed}
RETURNING ${this.#returned})
SELECT r."#n" AS "${OUT.number}", ${this.#told} AS "${OUT.locked}", ${toldSql('b.version')} AS "${OUT.tombstone}", w.*${this.#noneMoved(alone)} FROM r
LEFT JOIN ${this.#table} t ON ${this.#sameKey}
LEFT JOIN lockstep.tombstone b ON ${equal('b.source', this.#source)} AND ${equal('b.key', this.#rowKey)}
LEFT JOIN w ON ${this.#isWritten(alone)}`;
    });
  }

  /** Buffered deletes. $1: rows with `#x`, $2: the versions by key, as JSON. */
  flushDeletes(): Statement {
    return this.#get('flushDeletes', () => {
      return `WITH h AS MATERIALIZED (SELECT pg_catalog.set_config('${SETTING_DELETE_EXACT}', $2::pg_catalog.text, true) AS done),
r AS MATERIALIZED (SELECT * FROM ${this.#rows([])} WHERE ${believedSql('r."#x"')}), ${this.#lock},
d AS (DELETE FROM ${this.#table} t USING ${LOCKED} CROSS JOIN h
WHERE ${this.#sameKey} AND ${BELIEVED} AND ${below('l."#l"', 'r."#x"')} AND h.done IS NOT NULL RETURNING l."#n"),
b AS (INSERT INTO lockstep.tombstone AS b (source, key, version)
SELECT ${this.#source}, ${this.#rowKey}, r."#x" FROM r WHERE NOT EXISTS (SELECT FROM l WHERE ${sameNumber('l', 'r')}) ORDER BY r."#o"
ON CONFLICT (source, key) DO UPDATE SET version = EXCLUDED.version WHERE ${below('b.version', 'EXCLUDED.version')} OR NOT ${believedSql('b.version')} RETURNING key, version),
o AS (INSERT INTO lockstep.outbox (version, source, key, op) SELECT version, ${this.#source}, key, 'd' FROM b)
SELECT r."#n" AS "${OUT.number}", l."#l" AS "${OUT.locked}", ${toldSql('s.version')} AS "${OUT.tombstone}",
(d."#n" IS NOT NULL) AS "${OUT.done}", (b.key IS NOT NULL) AS "${OUT.key}" FROM r
LEFT JOIN l ON ${sameNumber('l', 'r')} LEFT JOIN d ON ${sameNumber('d', 'r')} LEFT JOIN b ON ${equal('b.key', this.#rowKey)}
LEFT JOIN lockstep.tombstone s ON ${equal('s.source', this.#source)} AND ${equal('s.key', this.#rowKey)}`;
    });
  }

  /** Buffered writes of one key exclude each other. $1: keys, in order. */
  lockKeys(): Statement {
    return this.#get(
      'lockKeys',
      () =>
        `SELECT ${this.#advisoryLock('pg_advisory_xact_lock')}
FROM pg_catalog.unnest($1::pg_catalog.text[]) WITH ORDINALITY AS u(k, n) ORDER BY n`,
    );
  }

  /** Makes the transaction known as a writer of the keys. $1: keys, in order. */
  lockShared(): Statement {
    return this.#get(
      'lockShared',
      () =>
        `SELECT ${this.#advisoryLock('pg_advisory_xact_lock_shared')} FROM pg_catalog.unnest($1::pg_catalog.text[]) AS u(k)`,
    );
  }

  /** Waits for the key's known writers. $1: the key. */
  lockAlone(): Statement {
    return this.#get(
      'lockAlone',
      () =>
        `SELECT ${this.#advisoryLock('pg_advisory_xact_lock')} FROM (SELECT $1::pg_catalog.text AS k) AS u`,
    );
  }

  #advisoryLock(name: string): string {
    return `pg_catalog.${name}(pg_catalog.hashtextextended(k, pg_catalog.hashtextextended(${this.#source}, 0)))`;
  }

  /** Ends what {@link flushDeletes} set, for the rest of a transaction. */
  endFlush(): Statement {
    return this.#get('endFlush', () => `SELECT pg_catalog.set_config('${SETTING_DELETE_EXACT}', '', true)`);
  }

  #guarded(id: string, columns: readonly TableColumn[], sets: readonly string[], guard: string): Statement {
    return this.#get(
      id,
      () => `WITH r AS MATERIALIZED (SELECT * FROM ${this.#rows(columns)}), ${this.#lock},
w AS (UPDATE ${this.#table} t SET ${[...sets, `${this.#version} = $2::pg_catalog.int8`].join(', ')} FROM ${LOCKED}
WHERE ${this.#sameKey} AND ${BELIEVED} AND ${guard} RETURNING l."#n" AS "#w", ${this.#returned})
SELECT l."#n" AS "${OUT.number}", l."#l" AS "${OUT.locked}", w.* FROM l LEFT JOIN w ON ${equal('w."#w"', 'l."#n"')}`,
    );
  }

  /** Locks the rows in the batch's order and reads their versions as they are now, not as the snapshot has them. */
  get #lock(): string {
    return `l AS MATERIALIZED (SELECT r."#n", ${this.#told} AS "#l" FROM r JOIN ${this.#table} t ON ${this.#sameKey} ORDER BY r."#o" FOR UPDATE OF t)`;
  }

  get #sameKey(): string {
    return this.#info.keyColumns
      .map((key, index) => equal(`t.${identifier(key.column)}`, `r."k${index}"`))
      .join(' AND ');
  }

  get #told(): string {
    return toldSql(`t.${this.#version}`);
  }

  get #believed(): string {
    return believedSql(`t.${this.#version}`);
  }

  /** Where triggers may give rows other keys, a statement of one row differs from one of many. */
  #variant(alone: boolean): string {
    return alone && this.#info.userTriggers.before ? ' alone' : '';
  }

  /** Joins what was written to what was proposed: of one row, whatever key a trigger has given it. */
  #isWritten(alone: boolean): string {
    return alone && this.#info.userTriggers.before ? 'true' : equal(`w."${OUT.key}"`, this.#rowKey);
  }

  /** A column that fails the statement when a trigger has given a row another key: each row is then written alone. */
  #noneMoved(alone: boolean): string {
    if (alone || !this.#info.userTriggers.before) return '';
    const proposed = `SELECT FROM r WHERE ${equal(`w."${OUT.key}"`, this.#rowKey)}`;
    return `, (SELECT pg_catalog.concat('a trigger gave a row the key ', w."${OUT.key}")::pg_catalog.int4 FROM w WHERE NOT EXISTS (${proposed}) LIMIT 1) AS "#moved"`;
  }

  get #rowKey(): string {
    const renamed = this.#info.keyColumns.map((key, index) => ({ ...key, column: `k${index}` }));
    return tableKeySql({ ...this.#info, keyColumns: renamed }, 'r');
  }

  #rows(columns: readonly TableColumn[], parameter = 1): string {
    const fields = [
      ...this.#info.keyColumns.map((key, index) => `"k${index}" ${key.type.sqlType}`),
      ...columns.map((column, index) => `"c${index}" ${column.sqlType}`),
      '"#n" pg_catalog.int4, "#o" pg_catalog.int4, "#i" pg_catalog.int8, "#x" pg_catalog.int8, "#b" pg_catalog.text',
    ];
    return `pg_catalog.json_to_recordset($${parameter}::pg_catalog.json) AS r(${fields.join(', ')})`;
  }

  #target(columns: readonly TableColumn[]): { names: string; overriding: string } {
    const key = this.#info.keyColumns.map((each) => each.column);
    const always = this.#info.columns.some(
      (each) => each.identityAlways && (columns.includes(each) || key.includes(each.name)),
    );
    return {
      names: [...key, ...columns.map((column) => column.name)].map(identifier).join(', '),
      overriding: always ? ' OVERRIDING SYSTEM VALUE' : '',
    };
  }

  #inputs(columns: readonly TableColumn[]): string {
    return [
      ...this.#info.keyColumns.map((_, index) => `r."k${index}"`),
      ...columns.map((_, index) => `r."c${index}"`),
    ].join(', ');
  }

  #settable(column: TableColumn): boolean {
    const isKey = this.#info.keyColumns.some((key) => key.column === column.name);
    return column.writable && !column.identityAlways && !isKey;
  }

  /** Columns that the value leaves out are proposed with their defaults, and so replaced by these. */
  #onConflict(stamp: string): string {
    const key = this.#info.keyColumns.map((each) => identifier(each.column)).join(', ');
    const sets = this.#info.columns
      .filter((column) => this.#settable(column))
      .map((column) => `${identifier(column.name)} = EXCLUDED.${identifier(column.name)}`);
    return `ON CONFLICT (${key}) DO UPDATE SET ${[...sets, `${this.#version} = ${stamp}`].join(', ')}`;
  }

  /** Only tombstones ahead of the clock matter, and there are none unless a clock stepped back. */
  #aboveTombstone(stamp: string, keys: string): string {
    return `least(${stamp}, (SELECT ${stampAboveSql('pg_catalog.max(t.version)')} FROM lockstep.tombstone t WHERE ${atLeast('t.version', microsSql('pg_catalog.now()'))} AND ${atMost('t.version', limitSql())} AND ${equal('t.source', this.#source)} AND ${keys}))`;
  }

  #get(id: string, build: () => string): Statement {
    let found = this.#cache.get(id);
    if (found === undefined) {
      found = statement(build(), this.#prepared && this.#cache.size < MAX_STATEMENTS);
      if (this.#cache.size < 1000) this.#cache.set(id, found);
    }
    return found;
  }
}
