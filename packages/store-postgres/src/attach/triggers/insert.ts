import type { TableInfo } from '../../sql/catalog.js';
import { atLeast, equal } from '../../sql/operators.js';
import { identifier } from '../../sql/quote.js';
import {
  believedSql,
  isForeignSql,
  isStampedSql,
  RETRY_STATE,
  SETTING_BELOW,
  SETTING_DEADLINE,
  SUPERSEDED_STATE,
} from '../../sql/stamp.js';
import {
  inOwnTransaction,
  isNameable,
  keepsSnapshot,
  namesOf,
  noneSet,
  notifyWhere,
  recordOf,
  refuseIfLate,
  setting,
} from './pieces.js';

const READ_COMMITTED = equal("pg_catalog.current_setting('transaction_isolation')", "'read committed'");

/** A snapshot hides a tombstone that is newer than itself; the server refuses (40001) to write over it. */
const touchTombstone = (source: string, key: string): string => `
    INSERT INTO lockstep.tombstone AS t (source, key, version) VALUES (${source}, ${key}, 0)
      ON CONFLICT (source, key) DO UPDATE SET version = t.version;
    DELETE FROM lockstep.tombstone t WHERE ${equal('t.source', source)} AND ${equal('t.key', key)} AND ${equal('t.version', '0')};`;

/** Stamps an insert again that waited for a concurrent delete of its key: only now is the delete visible. */
export function raiseAboveTombstone(
  info: TableInfo,
  raise: string,
  newVersion = namesOf(info).newVersion,
): string {
  return `
  IF floor IS NOT NULL AND ${believedSql('floor')} THEN
    IF ${newVersion} % 2 = 1 THEN
      RAISE EXCEPTION 'a newer delete supersedes this buffered write'
        USING ERRCODE = '${SUPERSEDED_STATE}', DETAIL = floor::pg_catalog.text;
    END IF;
    -- A statement of ours has told its version already: it runs again. A transaction tells it at its end.
    IF NOT ${isForeignSql(newVersion)} AND NOT ${inOwnTransaction(info)} THEN
      RAISE EXCEPTION 'stamped below a concurrent delete' USING ERRCODE = '${RETRY_STATE}', DETAIL = floor::pg_catalog.text;
    END IF;
    ${raise}
  END IF;`;
}

export const REFUSE_BELOW = `RAISE EXCEPTION 'could not serialize access: the row would be older than a concurrent delete of its key'
      USING ERRCODE = 'serialization_failure', HINT = 'Run the transaction again.';`;

/** The version of the key's tombstone where that is not below the row's. */
export const floorSql = (source: string, key: string, version: string): string =>
  `SELECT t.version FROM lockstep.tombstone t WHERE ${equal('t.source', source)} AND ${equal('t.key', key)} AND ${atLeast('t.version', version)}`;

/** Records what was inserted, but for statements that have recorded their rows themselves. */
export function recordInsertBody(info: TableInfo): string {
  const { newKey, newVersion, source } = namesOf(info);
  return `
DECLARE
  floor pg_catalog.int8;
BEGIN
  IF NOT (${noneSet(SETTING_DEADLINE, SETTING_BELOW)}) THEN${refuseIfLate(info)}
    PERFORM pg_catalog.set_config('${SETTING_BELOW}', '', true);
  END IF;
  IF ${keepsSnapshot} AND ${isNameable(newKey)} THEN${touchTombstone(source, newKey)}
  END IF;
  -- Not in its RETURNING, where NEW is the outbox's row from Postgres 18 on.
  WITH o AS (INSERT INTO lockstep.outbox ${recordOf(info, { version: newVersion, key: newKey, op: 'p' }, { after: 'NEW' })})
    SELECT (${floorSql(source, newKey, newVersion)}) INTO floor;${notifyWhere(isForeignSql(newVersion))}${raiseAboveTombstone(
      info,
      `PERFORM pg_catalog.set_config('${SETTING_BELOW}', 'yes', true);`,
    )}
  RETURN NULL;
END`;
}

/**
 * Raises a row that {@link recordInsertBody} has found below its tombstone: the users' triggers that the update fires
 * run as for any other, as the writer, with the writer's `search_path`. Of a statement that has stamped its rows it
 * looks for the tombstone, too: whoever may run such a statement may read tombstones.
 */
export function restampBody(info: TableInfo): string {
  const { newKey, newVersion, source } = namesOf(info);
  const version = identifier(info.spec.versionColumn);
  const sameRow = info.keyColumns
    .map((column) => equal(`t.${identifier(column.column)}`, `NEW.${identifier(column.column)}`))
    .join(' AND ');
  return `
DECLARE
  floor pg_catalog.int8;
  raised pg_catalog.bool := false;
BEGIN
  IF ${isStampedSql(newVersion)} THEN
    IF NOT ${READ_COMMITTED} AND ${isNameable(newKey)} THEN${touchTombstone(source, newKey)}
    END IF;
    floor := (${floorSql(source, newKey, newVersion)} AND ${believedSql('t.version')});
    IF floor IS NOT NULL THEN
      RAISE EXCEPTION 'stamped below a concurrent delete' USING ERRCODE = '${RETRY_STATE}', DETAIL = floor::pg_catalog.text;
    END IF;
  ELSIF coalesce(${equal(setting(SETTING_BELOW), "'yes'")}, false) THEN
    BEGIN
      UPDATE ${info.relation} t SET ${version} = t.${version} WHERE ${sameRow};
      raised := FOUND;
    EXCEPTION WHEN insufficient_privilege THEN raised := false;
    END;
    PERFORM pg_catalog.set_config('${SETTING_BELOW}', '', true);
    IF NOT raised THEN
    ${REFUSE_BELOW}
    END IF;
  END IF;
  RETURN NULL;
END`;
}

/** Refuses an update that has given a row the key of a row that was deleted meanwhile. */
export function checkMoveBody(info: TableInfo): string {
  const { newKey, newVersion, oldKey, source } = namesOf(info);
  return `
DECLARE
  new_key pg_catalog.text := ${newKey};
  floor pg_catalog.int8;
BEGIN
  IF new_key = ${oldKey} THEN RETURN NULL; END IF;
  IF ${keepsSnapshot} AND ${isNameable('new_key')} THEN${touchTombstone(source, 'new_key')}
  END IF;
  floor := (${floorSql(source, 'new_key', newVersion)});${raiseAboveTombstone(info, REFUSE_BELOW)}
  RETURN NULL;
END`;
}
