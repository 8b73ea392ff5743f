import { MAX_KEY_BYTES } from '../../keys/codec.js';
import { type TableInfo, tableKeySql } from '../../sql/catalog.js';
import { textsSql } from '../../sql/declared.js';
import { objectName } from '../../sql/names.js';
import { atMost } from '../../sql/operators.js';
import { identifier, literal } from '../../sql/quote.js';
import {
  believedSql,
  CHANNEL,
  ifBelievedSql,
  LATE_STATE,
  microsSql,
  nextForeignSql,
  nextOwnSql,
  SETTING_DEADLINE,
  SETTING_TX,
  UNBELIEVED_STATE,
} from '../../sql/stamp.js';

export interface TriggerSql {
  readonly name: string;
  /** `BEFORE INSERT`, … */
  readonly event: string;
  readonly level: 'ROW' | 'STATEMENT';
  /** The rows of the statement that the function sees as {@link ROWS}: as they are now, or were. */
  readonly rows?: 'NEW' | 'OLD';
  /** The function is called where this holds; always when absent. */
  readonly when?: string;
  /** Looks tombstones up: by their index, whatever their number was when a session made its plan. */
  readonly looksUp?: boolean;
  /** Runs with the rights and the `search_path` of whoever writes. */
  readonly asWriter?: boolean;
  /** plpgsql. */
  readonly body: string;
}

/** All rows of a statement, in the functions of triggers that see them. */
export const ROWS = 'lockstep_rows';

/** A table's names as the triggers' functions write them. */
export interface TriggerNames {
  readonly source: string;
  readonly newVersion: string;
  readonly oldVersion: string;
  readonly newKey: string;
  readonly oldKey: string;
}

export function namesOf(info: TableInfo): TriggerNames {
  const version = identifier(info.spec.versionColumn);
  return {
    source: literal(info.source),
    newVersion: `NEW.${version}`,
    oldVersion: `OLD.${version}`,
    newKey: tableKeySql(info, 'NEW'),
    oldKey: tableKeySql(info, 'OLD'),
  };
}

/**
 * The name of the function that marks who runs Lockstep on a table: whoever may execute it. It does nothing. Such
 * a right is what Postgres checks fastest, inherits by membership and keeps across dumps.
 */
export const writerFunction = (info: TableInfo): string => objectName(info, 'writer');

const writerOf = (info: TableInfo): string =>
  `${literal(`${writerFunction(info)}()`)}::pg_catalog.regprocedure`;

/**
 * True of a session whose settings count, inside a function that runs with its owner's rights: both the role that
 * logged in and the one that it became must be known.
 */
export const believesSession = (info: TableInfo): string =>
  `(pg_catalog.has_function_privilege(session_user, ${writerOf(info)}, 'EXECUTE') AND (pg_catalog.current_setting('role') = 'none'
      OR pg_catalog.has_function_privilege(pg_catalog.current_setting('role')::pg_catalog.name, ${writerOf(info)}, 'EXECUTE')))`;

export const setting = (name: string): string => `pg_catalog.current_setting('${name}', true)`;

/** Stands for a setting that has a value where triggers fire as in replication. */
export const NOT_ORIGIN = Symbol('not origin');

/** The text of settings; empty where none of them has a value. */
export const settingsSql = (...names: readonly (string | typeof NOT_ORIGIN)[]): string =>
  `pg_catalog.concat(${names
    .map((name) =>
      typeof name === 'string' ? setting(name) : `NULLIF(${setting('session_replication_role')}, 'origin')`,
    )
    .join(', ')})`;

/**
 * True where none of the settings has a value: the common case, in which a function has nothing to ask. One
 * expression, since plpgsql prepares each of a function's anew in each transaction.
 */
export const noneSet = (...names: readonly (string | typeof NOT_ORIGIN)[]): string =>
  `${settingsSql(...names)} = ''`;

/**
 * Why a statement's rows can't be recorded together; `undefined`: they can. A statement may write them without firing the
 * table's triggers (on a parent, or on a partition), or each is recorded with texts of before and after.
 */
export function whyNotTogether({ declared, inherits, partitioned }: TableInfo): string | undefined {
  if (partitioned) return 'is partitioned';
  if (inherits) return 'is a partition, or inherits from another table';
  return declared.columns.length === 0 ? undefined : 'declares columns (unique, tags)';
}

/** True of a table of which a statement's rows are recorded together, by triggers that see all of them. */
export const recordsByStatement = (info: TableInfo): boolean =>
  info.bulk && whyNotTogether(info) === undefined;

export const inOwnTransaction = (info: TableInfo): string =>
  `(coalesce(${setting(SETTING_TX)}, '') = 'own' AND ${believesSession(info)})`;

/** True in repeatable read and serializable. Elsewhere each statement sees what was committed before it. */
export const keepsSnapshot =
  "pg_catalog.current_setting('transaction_isolation') IN ('repeatable read', 'serializable')";

/** `target := next(base)`, ours or foreign by the transaction's setting. */
export const stampByTransaction = (info: TableInfo, target: string, base: string): string => `
    IF ${inOwnTransaction(info)} THEN
      ${target} := ${nextOwnSql(base)};
    ELSE
      ${target} := ${nextForeignSql(base)};
    END IF;`;

/** Nobody can name a row of a longer key, and the index of tombstones could not hold it. */
export const isNameable = (key: string): string =>
  atMost(`pg_catalog.octet_length(${key})`, String(MAX_KEY_BYTES));

export const raiseTombstone = `ON CONFLICT (source, key) DO UPDATE SET version = greatest(${ifBelievedSql('t.version')}, EXCLUDED.version)`;

/** The end of a record of the outbox: the texts of declared columns, where there are some, before and after the change. */
export function recordOf(
  info: TableInfo,
  { version, key, op }: { readonly version: string; readonly key: string; readonly op: 'p' | 'd' },
  { before, after }: { readonly before?: string; readonly after?: string },
): string {
  const { declared } = info;
  const plain = [version, literal(info.source), key, `'${op}'`];
  if (declared.columns.length === 0) return `(version, source, key, op) VALUES (${plain.join(', ')})`;
  const texts = [before, after].map((row) => (row === undefined ? 'NULL' : textsSql(declared, row)));
  return `(version, source, key, op, before, after) VALUES (${[...plain, ...texts].join(', ')})`;
}

export const recordDelete = (info: TableInfo, key: string, version: string): string => `
  IF ${isNameable(key)} THEN
    INSERT INTO lockstep.tombstone AS t (source, key, version) VALUES (${literal(info.source)}, ${key}, ${version})
      ${raiseTombstone};
  END IF;
  INSERT INTO lockstep.outbox ${recordOf(info, { version, key, op: 'd' }, { before: 'OLD' })};`;

/** As {@link recordDelete} of a key that can be named, as one statement. */
export const recordNameableDelete = (info: TableInfo, key: string, version: string): string => `
    WITH buried AS (
      INSERT INTO lockstep.tombstone AS t (source, key, version) VALUES (${literal(info.source)}, ${key}, ${version})
      ${raiseTombstone}
    )
    INSERT INTO lockstep.outbox ${recordOf(info, { version, key, op: 'd' }, { before: 'OLD' })};`;

/** A transaction that has notified can't be prepared for a two-phase commit: where there may be some, consumers poll. */
export const mayNotify = "pg_catalog.current_setting('max_prepared_transactions') = '0'";

/** Notifies where `condition` holds: an expression, which costs a fraction of a PERFORM. */
export const notifyWhere = (condition: string): string => `
  IF ${condition} AND ${mayNotify} AND pg_catalog.pg_notify('${CHANNEL}', '') IS NULL THEN NULL; END IF;`;

/**
 * For use where the row is locked, so that nobody else commits a write of it between this and the transaction's end. A
 * new row is locked once it has been inserted.
 */
export const refuseIfLate = (info: TableInfo): string => `
  IF ${setting(SETTING_DEADLINE)} <> '' AND ${believesSession(info)} THEN
    IF ${microsSql()} > ${setting(SETTING_DEADLINE)}::pg_catalog.int8 THEN
      RAISE EXCEPTION 'the write came after its deadline' USING ERRCODE = '${LATE_STATE}';
    END IF;
  END IF;`;

export const refuseUnbelieved = (version: string, message: string): string => `
      IF NOT ${believedSql(version)} THEN
        RAISE EXCEPTION '${message}' USING ERRCODE = '${UNBELIEVED_STATE}';
      END IF;`;
