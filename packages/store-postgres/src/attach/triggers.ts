import { MAX_KEY_BYTES } from '../keys/codec.js';
import type { TableInfo } from '../sql/catalog.js';
import { tableKeySql } from '../sql/catalog.js';
import { objectName } from '../sql/names.js';
import { equal, isIn, operator } from '../sql/operators.js';
import { identifier, literal } from '../sql/quote.js';
import {
  believedSql,
  CHANNEL,
  ifBelievedSql,
  isForeignSql,
  LATE_STATE,
  microsSql,
  nextForeignSql,
  nextOwnSql,
  RETRY_STATE,
  SETTING_BELOW,
  SETTING_DEADLINE,
  SETTING_DELETE_BASE,
  SETTING_DELETE_EXACT,
  SETTING_MOVED,
  SETTING_STAMPED,
  SETTING_TX,
  SUPERSEDED_STATE,
  UNBELIEVED_STATE,
} from '../sql/stamp.js';

export interface TriggerSql {
  readonly name: string;
  /** `BEFORE INSERT`, … */
  readonly event: string;
  readonly level: 'ROW' | 'STATEMENT';
  /** The function is called where this holds; always when absent. */
  readonly when?: string;
  /** Runs with the rights and the `search_path` of whoever writes. */
  readonly asWriter?: boolean;
  /** plpgsql. */
  readonly body: string;
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
const believesSession = (info: TableInfo): string =>
  `(pg_catalog.has_function_privilege(session_user, ${writerOf(info)}, 'EXECUTE') AND (pg_catalog.current_setting('role') = 'none'
      OR pg_catalog.has_function_privilege(pg_catalog.current_setting('role')::pg_catalog.name, ${writerOf(info)}, 'EXECUTE')))`;

const inOwnTransaction = (info: TableInfo): string =>
  `(coalesce(pg_catalog.current_setting('${SETTING_TX}', true), '') = 'own' AND ${believesSession(info)})`;

/** True in repeatable read and serializable. Elsewhere each statement sees what was committed before it. */
const keepsSnapshot =
  "pg_catalog.current_setting('transaction_isolation') IN ('repeatable read', 'serializable')";

/** `target := next(base)`, ours or foreign by the transaction's setting. */
const stampByTransaction = (info: TableInfo, target: string, base: string): string => `
    IF ${inOwnTransaction(info)} THEN
      ${target} := ${nextOwnSql(base)};
    ELSE
      ${target} := ${nextForeignSql(base)};
    END IF;`;

/** Nobody can name a row of a longer key, and the index of tombstones could not hold it. */
const isNameable = (key: string): string => `pg_catalog.octet_length(${key}) <= ${MAX_KEY_BYTES}`;

const recordDelete = (source: string, key: string, version: string): string => `
  IF ${isNameable(key)} THEN
    INSERT INTO lockstep.tombstone AS t (source, key, version) VALUES (${source}, ${key}, ${version})
      ON CONFLICT (source, key) DO UPDATE SET version = greatest(${ifBelievedSql('t.version')}, EXCLUDED.version);
  END IF;
  INSERT INTO lockstep.outbox (version, source, key, op) VALUES (${version}, ${source}, ${key}, 'd');`;

/** A transaction that has notified can't be prepared for a two-phase commit: where there may be some, consumers poll. */
const mayNotify = "pg_catalog.current_setting('max_prepared_transactions') = '0'";

/**
 * Where the row is locked, so that nobody else commits a write of it between this and the transaction's end. A
 * new row is locked once it has been inserted.
 */
const refuseIfLate = (info: TableInfo): string => `
  IF pg_catalog.current_setting('${SETTING_DEADLINE}', true) <> '' AND ${believesSession(info)} THEN
    IF ${microsSql()} > pg_catalog.current_setting('${SETTING_DEADLINE}', true)::pg_catalog.int8 THEN
      RAISE EXCEPTION 'the write came after its deadline' USING ERRCODE = '${LATE_STATE}';
    END IF;
  END IF;`;

const refuseUnbelieved = (version: string, message: string): string => `
      IF NOT ${believedSql(version)} THEN
        RAISE EXCEPTION '${message}' USING ERRCODE = '${UNBELIEVED_STATE}';
      END IF;`;

const notifyIfForeign = (version: string): string => `
  IF ${isForeignSql(version)} AND ${mayNotify} THEN PERFORM pg_catalog.pg_notify('${CHANNEL}', ''); END IF;`;

const recordPut = (version: string, source: string): string => `
  INSERT INTO lockstep.outbox (version, source, key, op) VALUES (${version}, ${source}, new_key, 'p');${notifyIfForeign(version)}`;

/**
 * Where the names of the roles go that run Lockstep on the table, as an array of texts; it is made where it is
 * installed. A condition that asks for rights, or hashes a secret, would cost every row several times as much.
 */
export const ROLES = "'{lockstep roles}'";

/** True in a session that may, as far as it is asked in a condition: a function has its owner's name there. */
const isListed = (role: string): string => isIn(`${role}::pg_catalog.text`, `${ROLES}::pg_catalog.text[]`);

/**
 * True beside a statement that stamps and records its own rows. What users' triggers write on its behalf is
 * deeper, and is not such a row.
 */
const isOrdinary = (info: TableInfo, depth: number): string =>
  `${operator('pg_catalog.pg_trigger_depth()', '<>', String(depth))} OR pg_catalog.current_setting('${SETTING_STAMPED}', true) IS DISTINCT FROM ${literal(info.source)}`;

/**
 * False in a statement that stamps and records its own rows. Of a role that has the right by a membership that
 * attach has not seen it is true: its rows are stamped and recorded twice until the next attach.
 */
const needsTrigger = (info: TableInfo): string =>
  `${isOrdinary(info, 0)} OR NOT (${isListed('SESSION_USER')} AND ${isListed('CURRENT_USER')})`;

/**
 * The triggers of one table. All stamping happens under the row's lock, in the statement that writes,
 * so that per row the order of versions is the order of commits. Row triggers throughout: cheapest for
 * a lone write, cloned to every partition, and exact under ON CONFLICT, COPY, MERGE and cascades.
 *
 * One trigger stamps, and records what it updates. It fires after users' own (in the order of names), which
 * may change the row or drop it. Conditions spare our own puts the calls: few and short ones, since
 * the server prepares each anew for each statement. What is inserted is recorded afterwards: of a row
 * that is proposed nobody knows yet whether it will be.
 */
export function triggersOf(info: TableInfo): TriggerSql[] {
  const version = identifier(info.spec.versionColumn);
  const neu = `NEW.${version}`;
  const old = `OLD.${version}`;
  const source = literal(info.source);
  const keyNew = tableKeySql(info, 'NEW');
  const keyOld = tableKeySql(info, 'OLD');
  const sameRow = info.keyColumns
    .map((column) => equal(`t.${identifier(column.column)}`, `NEW.${identifier(column.column)}`))
    .join(' AND ');
  const clock = microsSql();
  const asked = `(-${neu} - 2) / 2`;

  const stamp = `
DECLARE
  new_key pg_catalog.text;
  old_key pg_catalog.text;
  base pg_catalog.int8;
  recorded pg_catalog.int8;
  gone pg_catalog.int8;
BEGIN
  -- Only Lockstep asks for a version; and nobody for one that is far ahead of the clock.
  IF ${neu} IS NULL OR (${neu} < 0 AND (${neu} IS NOT DISTINCT FROM ${old} OR NOT ${believesSession(info)})) THEN ${neu} := 0; END IF;
  IF TG_OP = 'INSERT' THEN
    IF ${neu} < 0 THEN
      IF ${neu} % 2 = 0 THEN
        ${neu} := ${nextOwnSql(`greatest(${ifBelievedSql(asked)}, ${clock})`)};
      ELSE
        ${neu} := (-${neu} - 1) / 2;${refuseUnbelieved(neu, 'this write has a version that is not to be believed')}
        -- A buffered write must not bring back what was deleted after it.
        IF EXISTS (SELECT FROM lockstep.tombstone t WHERE t.source = ${source} AND t.key = ${keyNew}
                   AND t.version >= ${neu} AND ${believedSql('t.version')}) THEN
          RETURN NULL;
        END IF;
      END IF;
    ELSE${stampByTransaction(info, neu, clock)}
    END IF;
    RETURN NEW;
  END IF;${refuseIfLate(info)}
  new_key := ${keyNew};
  old_key := ${keyOld};
  base := ${ifBelievedSql(old)};
  IF base IS NULL THEN
    -- Only repair brings a version down. Until then the row can be changed, and is not cached.
    IF ${neu} < 0 THEN${refuseUnbelieved(old, 'the row has a version that is not to be believed: repair the table')}
    END IF;
    ${neu} := ${old};
    recorded := ${nextForeignSql(clock)};
  ELSIF ${neu} >= 0 THEN
    IF new_key <> old_key OR pg_catalog.current_setting('${SETTING_BELOW}', true) = 'yes' THEN
      PERFORM pg_catalog.set_config('${SETTING_BELOW}', '', true);
      SELECT greatest(base, pg_catalog.max(t.version)) INTO base FROM lockstep.tombstone t
        WHERE t.source = ${source} AND t.key = new_key AND ${believedSql('t.version')};
    END IF;${stampByTransaction(info, neu, `greatest(base, ${clock})`)}
  ELSIF ${neu} % 2 = 0 THEN
    ${neu} := ${nextOwnSql(`greatest(base, ${ifBelievedSql(asked)}, ${clock})`)};
  ELSE
    ${neu} := (-${neu} - 1) / 2;${refuseUnbelieved(neu, 'this write has a version that is not to be believed')}
    IF ${neu} <= base THEN RETURN NULL; END IF;
  END IF;
  recorded := coalesce(recorded, ${neu});${recordPut('recorded', source)}
  -- A change of the key is a delete of the old one.
  IF new_key <> old_key THEN
    gone := greatest(base, ${clock});${stampByTransaction(info, 'gone', 'gone')}${recordDelete(source, 'old_key', 'gone')}
    PERFORM pg_catalog.set_config('${SETTING_MOVED}', 'yes', true);
  END IF;
  RETURN NEW;
END`;

  // What waited for a concurrent delete of its key was stamped before it; only now is the delete visible.
  // A snapshot hides a tombstone that is newer than itself; the server refuses (40001) to write over it.
  const aboveTombstone = (raise: string): string => `
  IF ${keepsSnapshot} AND ${isNameable('new_key')} THEN
    INSERT INTO lockstep.tombstone AS t (source, key, version) VALUES (${source}, new_key, 0)
      ON CONFLICT (source, key) DO UPDATE SET version = t.version;
    DELETE FROM lockstep.tombstone t WHERE t.source = ${source} AND t.key = new_key AND t.version = 0;
  END IF;
  SELECT t.version INTO floor FROM lockstep.tombstone t
    WHERE t.source = ${source} AND t.key = new_key AND t.version >= ${neu};
  IF FOUND AND ${believedSql('floor')} THEN
    IF ${neu} % 2 = 1 THEN
      RAISE EXCEPTION 'a newer delete supersedes this buffered write'
        USING ERRCODE = '${SUPERSEDED_STATE}', DETAIL = floor::pg_catalog.text;
    END IF;
    -- A statement of ours has told its version already: it runs again. A transaction tells it at its end.
    IF NOT ${isForeignSql(neu)} AND NOT ${inOwnTransaction(info)} THEN
      RAISE EXCEPTION 'stamped below a concurrent delete' USING ERRCODE = '${RETRY_STATE}', DETAIL = floor::pg_catalog.text;
    END IF;
    ${raise}
  END IF;`;

  const refuseBelow = `RAISE EXCEPTION 'could not serialize access: the row would be older than a concurrent delete of its key'
      USING ERRCODE = 'serialization_failure', HINT = 'Run the transaction again.';`;

  // The users' triggers that this update fires run as for any other: as the writer, with the writer's search_path.
  const restamp = `
DECLARE
  raised pg_catalog.bool := false;
BEGIN
  IF coalesce(${equal(`pg_catalog.current_setting('${SETTING_BELOW}', true)`, "'yes'")}, false) THEN
    BEGIN
      UPDATE ${info.relation} t SET ${version} = t.${version} WHERE ${sameRow};
      raised := FOUND;
    EXCEPTION WHEN insufficient_privilege THEN raised := false;
    END;
    PERFORM pg_catalog.set_config('${SETTING_BELOW}', '', true);
    IF NOT raised THEN
    ${refuseBelow}
    END IF;
  END IF;
  RETURN NULL;
END`;

  const recordInsert = `
DECLARE
  new_key pg_catalog.text := ${keyNew};
  floor pg_catalog.int8;
BEGIN${refuseIfLate(info)}
  IF ${neu} % 4 <> 2 OR ${isOrdinary(info, 1)} OR NOT ${believesSession(info)} THEN${recordPut(neu, source)}
  END IF;
  IF pg_catalog.current_setting('${SETTING_BELOW}', true) <> '' THEN
    PERFORM pg_catalog.set_config('${SETTING_BELOW}', '', true);
  END IF;${aboveTombstone(`PERFORM pg_catalog.set_config('${SETTING_BELOW}', 'yes', true);`)}
  RETURN NULL;
END`;

  const checkMove = `
DECLARE
  new_key pg_catalog.text := ${keyNew};
  floor pg_catalog.int8;
BEGIN
  IF new_key = ${keyOld} THEN RETURN NULL; END IF;${aboveTombstone(refuseBelow)}
  RETURN NULL;
END`;

  const recordDeletion = `
DECLARE
  old_key pg_catalog.text := ${keyOld};
  base pg_catalog.text := pg_catalog.current_setting('${SETTING_DELETE_BASE}', true);
  exact pg_catalog.text := pg_catalog.current_setting('${SETTING_DELETE_EXACT}', true);
  last pg_catalog.int8 := ${ifBelievedSql(old)};
  gone pg_catalog.int8;
BEGIN${refuseIfLate(info)}
  IF (base <> '' OR exact <> '') AND NOT ${believesSession(info)} THEN
    base := '';
    exact := '';
  END IF;
  IF exact <> '' THEN
    gone := (exact::pg_catalog.jsonb ->> old_key)::pg_catalog.int8;
    IF gone <= last OR NOT ${believedSql('gone')} THEN gone := NULL; END IF;
  END IF;
  IF gone IS NULL THEN
    IF base <> '' THEN
      -- The deleting statement computes the same, to tell its caller.
      gone := ${nextOwnSql(`greatest(last, base::pg_catalog.int8)`)};
    ELSE
      gone := greatest(last, ${clock});${stampByTransaction(info, 'gone', 'gone')}
    END IF;
  END IF;${recordDelete(source, 'old_key', 'gone')}${notifyIfForeign('gone')}
  RETURN NULL;
END`;

  return [
    {
      name: '~lockstep_stamp',
      event: 'BEFORE INSERT OR UPDATE',
      level: 'ROW',
      when: needsTrigger(info),
      body: stamp,
    },
    { name: 'lockstep_record_insert', event: 'AFTER INSERT', level: 'ROW', body: recordInsert },
    // After the one before: by their names, which is the order in which a row's triggers fire. A condition would cost
    // more than the call.
    { name: 'lockstep_restamp', event: 'AFTER INSERT', level: 'ROW', asWriter: true, body: restamp },
    // No mention of the key's columns, which would keep their types from being altered.
    {
      name: 'lockstep_check_move',
      event: 'AFTER UPDATE',
      level: 'ROW',
      when: equal(`pg_catalog.current_setting('${SETTING_MOVED}', true)`, "'yes'"),
      body: checkMove,
    },
    {
      name: 'lockstep_record_delete',
      event: 'AFTER DELETE',
      level: 'ROW',
      body: recordDeletion,
    },
  ];
}

/** The trigger that records every row of a table (or of one leaf partition) about to be truncated. */
export function truncateTriggerOf(info: TableInfo): TriggerSql {
  // The statement goes through format(), which reads per cent signs.
  const formatted = (sql: string): string => sql.replaceAll('%', '%%');
  const bare = `t.${identifier(info.spec.versionColumn)}`;
  const source = formatted(literal(info.source));
  const key = formatted(tableKeySql(info, 't'));
  const body = `
DECLARE
  own pg_catalog.bool := ${inOwnTransaction(info)};
BEGIN
  -- Rows that this transaction's snapshot does not show would go, and nobody would be told.
  IF ${keepsSnapshot} THEN
    RAISE EXCEPTION 'TRUNCATE of a table that Lockstep keeps in step needs the isolation level read committed'
      USING ERRCODE = 'feature_not_supported', HINT = 'Begin with SET TRANSACTION ISOLATION LEVEL READ COMMITTED, or use DELETE.';
  END IF;
  EXECUTE pg_catalog.format($lockstep_truncate$
    WITH gone AS (
      SELECT ${key} AS key,
        CASE WHEN %L::pg_catalog.bool THEN ${nextOwnSql('w.base')} ELSE ${nextForeignSql('w.base')} END AS version
      FROM ONLY %I.%I t, LATERAL (SELECT greatest(${formatted(ifBelievedSql(bare))}, ${microsSql()}) AS base OFFSET 0) w
    ), buried AS (
      INSERT INTO lockstep.tombstone AS b (source, key, version) SELECT ${source}, key, version FROM gone
      WHERE ${isNameable('key')}
      ON CONFLICT (source, key) DO UPDATE SET version = greatest(${ifBelievedSql('b.version')}, EXCLUDED.version)
    )
    INSERT INTO lockstep.outbox (version, source, key, op)
    SELECT version, ${source}, key, 'd' FROM gone$lockstep_truncate$, own, TG_TABLE_SCHEMA, TG_TABLE_NAME);
  IF NOT own AND ${mayNotify} THEN PERFORM pg_catalog.pg_notify('${CHANNEL}', ''); END IF;
  RETURN NULL;
END`;
  return { name: 'lockstep_record_truncate', event: 'BEFORE TRUNCATE', level: 'STATEMENT', body };
}
