import type { KeyColumn } from '../../keys/codec.js';
import type { TableColumn, TableInfo } from '../../sql/catalog.js';
import { recordsTexts } from '../../sql/declared.js';
import { type Statement, statement } from '../../wire/pipeline.js';
import type { GroupKind } from '../plan.js';
import type { Shape } from '../shape.js';
import {
  type ChangeMode,
  deleteOneStampedSql,
  deleteSql,
  incrementSql,
  patchSql,
  replaceSql,
  restampSql,
} from './changes.js';
import { END_FLUSH, flushDeletesSql, flushPutsSql } from './flushes.js';
import { insertSql, putManySql, putManyStampedSql, putOneSql, putOneStampedSql } from './puts.js';
import { findSql, othersSql, readManySql, readOneSql, recordedSql } from './reads.js';
import { TableSql } from './table-sql.js';

/**
 * Shapes beyond these (each its own statement) are not prepared: a table whose values come in endless
 * shapes must not fill the server's memory with plans.
 */
const MAX_STATEMENTS = 64;

/**
 * The statements of one table. Batches travel as one JSON parameter, blind puts of scalar columns as an array
 * of texts for each column, so that a batch of any size is one prepared statement. Each locks its rows in
 * the batch's order, which is the same everywhere, and looks each up by its key, however small the table is.
 */
export class Statements {
  readonly #info: TableInfo;
  readonly #prepared: boolean;
  readonly #sql: TableSql;
  readonly #cache = new Map<string, Statement>();

  constructor(info: TableInfo, prepared: boolean) {
    this.#info = info;
    this.#prepared = prepared;
    this.#sql = new TableSql(info);
  }

  /** True when only the database may give the column, one of the key's, a value. */
  isGeneratedKey(column: string | undefined): boolean {
    return column !== undefined && this.#sql.generatedKeys.includes(column);
  }

  /** True when a write runs no trigger of the user's. */
  get firesNothing(): boolean {
    const { after, before } = this.#info.userTriggers;
    return !after && !before;
  }

  /**
   * True when the statement of such commands may stamp and record its rows by itself: puts, and changes of one row where it
   * stands, not from one partition to another. Only the trigger sees what users' triggers have made of a row before it is
   * written: they may give it another key, or an earlier version; and what declared columns held, but for puts from
   * Postgres 18 on.
   */
  mayStamp(kind: GroupKind, alone: boolean, field: TableColumn | undefined): boolean {
    const { deletesItself, partitioned, stampsItself, userTriggers } = this.#info;
    if (!stampsItself || userTriggers.before) return false;
    if (this.declares) return kind === 'put' && !userTriggers.after && recordsTexts(this.#info);
    if (kind === 'put') return true;
    if (!alone || partitioned || userTriggers.after) return false;
    if (kind === 'delete') return deletesItself;
    // Whoever made a type may have made its sums, too, and have them write anything.
    return (
      kind === 'patch' || kind === 'replace' || (kind === 'increment' && field?.operators === 'pg_catalog')
    );
  }

  /** True when triggers may write a row again once a statement has. */
  get followed(): boolean {
    return this.#info.userTriggers.after;
  }

  /** The statement that runs now what triggers have put off until the commit; `undefined`: they put off nothing. */
  now(): Statement | undefined {
    if (!this.#info.userTriggers.deferred) return undefined;
    return this.#get('now', () => 'SET CONSTRAINTS ALL IMMEDIATE');
  }

  readOne(lock = false): Statement {
    return this.#get(`readOne ${lock}`, () => readOneSql(this.#sql, lock));
  }

  readMany(): Statement {
    return this.#get('readMany', () => readManySql(this.#sql));
  }

  putOne(shape: Shape): Statement {
    return this.#get(`putOne ${shape.id}`, () => putOneSql(this.#sql, shape));
  }

  putMany(shape: Shape): Statement {
    return this.#get(`putMany ${shape.id}`, () => putManySql(this.#sql, shape));
  }

  putOneStamped(shape: Shape): Statement {
    return this.#get(`putOneStamped ${shape.id}`, () => putOneStampedSql(this.#sql, shape), true);
  }

  putManyStamped(shape: Shape): Statement {
    return this.#get(`putManyStamped ${shape.id}`, () => putManyStampedSql(this.#sql, shape), true);
  }

  /** `drawn`: the keys were made for the rows, and are written where only the database makes them, too. */
  insert(shape: Shape, alone: boolean, drawn: boolean): Statement {
    return this.#get(`insert ${alone} ${drawn} ${shape.id}`, () => insertSql(this.#sql, shape, alone, drawn));
  }

  replace(shape: Shape, mode: ChangeMode): Statement {
    return this.#change(`replace ${shape.id}`, mode, () => replaceSql(this.#sql, shape, mode));
  }

  patch(shape: Shape, mode: ChangeMode): Statement {
    return this.#change(`patch ${shape.id}`, mode, () => patchSql(this.#sql, shape, mode));
  }

  restamp(alone: boolean): Statement {
    return this.#get(`restamp ${alone}`, () => restampSql(this.#sql, alone));
  }

  increment(column: TableColumn, mode: ChangeMode): Statement {
    return this.#change(`increment ${column.name}`, mode, () => incrementSql(this.#sql, column, mode));
  }

  delete(alone: boolean): Statement {
    return this.#get(`delete ${alone}`, () => deleteSql(this.#sql, alone));
  }

  deleteOneStamped(): Statement {
    return this.#get('deleteOneStamped', () => deleteOneStampedSql(this.#sql), true);
  }

  flushPuts(shape: Shape, alone: boolean): Statement {
    return this.#get(`flushPuts ${alone} ${shape.id}`, () => flushPutsSql(this.#sql, shape, alone));
  }

  flushDeletes(alone: boolean): Statement {
    return this.#get(`flushDeletes ${alone}`, () => flushDeletesSql(this.#sql, alone));
  }

  endFlush(): Statement {
    return this.#get('endFlush', () => END_FLUSH);
  }

  /** Buffered writes of one key exclude each other. $1: keys, in order. */
  lockKeys(): Statement {
    const keys = 'pg_catalog.unnest($1::pg_catalog.text[]) WITH ORDINALITY AS u(k, n) ORDER BY n';
    return this.#get('lockKeys', () => `SELECT ${this.#advisoryLock('pg_advisory_xact_lock')} FROM ${keys}`);
  }

  /** Makes the transaction known as a writer of the keys. $1: keys, in order. */
  lockShared(): Statement {
    const lock = this.#advisoryLock('pg_advisory_xact_lock_shared');
    return this.#get(
      'lockShared',
      () => `SELECT ${lock} FROM pg_catalog.unnest($1::pg_catalog.text[]) AS u(k)`,
    );
  }

  /** Waits for the key's known writers. $1: the key. */
  lockAlone(): Statement {
    const lock = this.#advisoryLock('pg_advisory_xact_lock');
    return this.#get('lockAlone', () => `SELECT ${lock} FROM (SELECT $1::pg_catalog.text AS k) AS u`);
  }

  /** True when each change tells the texts of declared columns. */
  get declares(): boolean {
    return this.#info.declared.columns.length > 0;
  }

  /** The texts that triggers have recorded in this transaction, by key. $1: the lowest version that it may have written. */
  recorded(): Statement {
    return this.#get('recorded', () => recordedSql(this.#sql));
  }

  /**
   * The texts that others' changes of rows have replaced, by key, while the feed still holds these. $1: keys. `undefined`:
   * nobody can find them.
   */
  others(): Statement | undefined {
    if (this.#info.findsOthers !== true) return undefined;
    return this.#get('others', () => othersSql(this.#sql));
  }

  /** Keys of the rows that hold texts. $1…: an array for each column. */
  find(columns: readonly KeyColumn[]): Statement {
    return this.#get(`find ${columns.map(({ column }) => column).join()}`, () => findSql(this.#sql, columns));
  }

  #advisoryLock(name: string): string {
    return `pg_catalog.${name}(pg_catalog.hashtextextended(k, pg_catalog.hashtextextended(${this.#sql.source}, 0)))`;
  }

  #change(id: string, mode: ChangeMode, build: () => string): Statement {
    return this.#get(`${id} ${mode}`, build, mode === 'stamped' || mode === 'cells');
  }

  #get(id: string, build: () => string, stampsRows = false): Statement {
    let found = this.#cache.get(id);
    if (found === undefined) {
      found = statement(build(), this.#prepared && this.#cache.size < MAX_STATEMENTS, stampsRows);
      if (this.#cache.size < 1000) this.#cache.set(id, found);
    }
    return found;
  }
}
