import { type TableInfo, tableKeySql } from '../../sql/catalog.js';
import { below, equal, isIn } from '../../sql/operators.js';
import { dollarQuoted, identifier } from '../../sql/quote.js';
import {
  believedSql,
  highestSql,
  ifBelievedSql,
  isForeignSql,
  isStampedSql,
  microsSql,
  nextForeignSql,
  SETTING_BELOW,
  SETTING_DEADLINE,
  SETTING_DELETE_BASE,
  SETTING_DELETE_EXACT,
  SETTING_INSERTED,
  SETTING_MOVED,
  SETTING_TX,
} from '../../sql/stamp.js';
import { floorSql, REFUSE_BELOW, raiseAboveTombstone } from './insert.js';
import {
  believesSession,
  isNameable,
  keepsSnapshot,
  namesOf,
  noneSet,
  notifyWhere,
  ROWS,
  raiseTombstone,
  refuseIfLate,
  setting,
} from './pieces.js';

/** The most changes that one record of the outbox holds: of so many a consumer takes all or none. */
const TOGETHER = 100;

/** The rows of a statement that can be named, by key and version. */
function rowsOf(info: TableInfo, version: string): string {
  const all = `SELECT ${tableKeySql(info, 'r')} AS key, ${version} AS version FROM ${ROWS} r OFFSET 0`;
  return `(SELECT k.key, k.version FROM (${all}) k WHERE ${isNameable('k.key')})`;
}

const versionOf = (info: TableInfo, row: string): string => `${row}.${identifier(info.spec.versionColumn)}`;

/** Records the rows of `from`: of others' changes many in one record. Ours stay apart, since each may be acknowledged. */
function recordTogether(info: TableInfo, op: 'p' | 'd', from: string): string {
  const several = (array: string): string =>
    `CASE WHEN pg_catalog.cardinality(g.keys) > 1 THEN g.${array} END`;
  const group = `CASE WHEN ${isForeignSql('c.version')} THEN (pg_catalog.row_number() OVER () - 1) / ${TOGETHER} ELSE -pg_catalog.row_number() OVER () END`;
  return `
  INSERT INTO lockstep.outbox (version, source, key, op, keys, versions)
    SELECT g.versions[1], ${namesOf(info).source}, g.keys[1], '${op}', ${several('keys')}, ${several('versions')}
    FROM (SELECT pg_catalog.array_agg(n.key) AS keys, pg_catalog.array_agg(n.version) AS versions
      FROM (SELECT c.key, c.version, ${group} AS n FROM ${from} c) n GROUP BY n.n) g;`;
}

/**
 * Records the rows that others' statements have updated. Those that the stamping trigger records itself have no version
 * of others', or one that is not believed, and stays.
 */
export function recordUpdatesBody(info: TableInfo): string {
  const foreign = `(SELECT f.key, f.version FROM ${rowsOf(info, versionOf(info, 'r'))} f WHERE ${isForeignSql('f.version')} AND ${believedSql('f.version')})`;
  return `
BEGIN${recordTogether(info, 'p', foreign)}${notifyWhere('FOUND')}
  RETURN NULL;
END`;
}

/** As `recordInsertBody`, of all rows of a statement. */
export function recordInsertsBody(info: TableInfo): string {
  const { source } = namesOf(info);
  const all = `(SELECT a.key, a.version FROM ${rowsOf(info, versionOf(info, 'r'))} a WHERE NOT ${isStampedSql('a.version')})`;
  return `
DECLARE
  found_below pg_catalog.record;
  floor pg_catalog.int8;
BEGIN
  IF NOT (${noneSet(SETTING_DEADLINE, SETTING_BELOW)}) THEN${refuseIfLate(info)}
    PERFORM pg_catalog.set_config('${SETTING_BELOW}', '', true);
  END IF;
  IF ${keepsSnapshot} THEN
    -- A snapshot hides a tombstone that is newer than itself; the server refuses (40001) to write over it.
    INSERT INTO lockstep.tombstone AS t (source, key, version) SELECT DISTINCT ${source}, a.key, 0 FROM ${all} a
      ON CONFLICT (source, key) DO UPDATE SET version = t.version;
    DELETE FROM lockstep.tombstone t WHERE ${equal('t.source', source)} AND ${isIn('t.key', `ARRAY(SELECT a.key FROM ${all} a)`)} AND ${equal('t.version', '0')};
  END IF;
  PERFORM pg_catalog.set_config('${SETTING_INSERTED}', 'yes', true);${recordTogether(info, 'p', all)}${notifyWhere('FOUND')}
  FOR found_below IN SELECT b.version, b.floor FROM (SELECT a.version, (${floorSql(source, 'a.key', 'a.version')}) AS floor FROM ${all} a OFFSET 0) b WHERE b.floor IS NOT NULL LOOP
    floor := found_below.floor;${raiseAboveTombstone(
      info,
      `PERFORM pg_catalog.set_config('${SETTING_BELOW}', 'yes', true);`,
      'found_below.version',
    )}
  END LOOP;
  RETURN NULL;
END`;
}

/** Raises the rows of a statement of which {@link recordInsertsBody} has found some below their tombstones, as the writer. */
export function restampInsertsBody(info: TableInfo): string {
  const version = identifier(info.spec.versionColumn);
  const sameRow = info.keyColumns
    .map(({ column }) => equal(`t.${identifier(column)}`, `inserted.${identifier(column)}`))
    .join(' AND ');
  return `
DECLARE
  inserted pg_catalog.record;
  raised pg_catalog.bool := true;
BEGIN
  IF coalesce(${equal(setting(SETTING_BELOW), "'yes'")}, false) THEN
    BEGIN
      FOR inserted IN SELECT * FROM ${ROWS} LOOP
        PERFORM pg_catalog.set_config('${SETTING_BELOW}', 'yes', true);
        UPDATE ${info.relation} t SET ${version} = t.${version} WHERE ${sameRow};
        raised := raised AND FOUND;
      END LOOP;
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

/** From so many rows on their tombstones are first tried as a plain insert. */
const MANY = 64;

/**
 * Finds the keys of deleted rows that the same statement has given to others (`MERGE`, parts of a `WITH`, triggers of the
 * user's): of those, rows were recorded before this trigger fired. Their deletes are no changes then, and tombstones would
 * be above the rows.
 */
function findAgain(info: TableInfo): string {
  const sameRow = info.keyColumns
    .map(({ column }) => equal(`t.${identifier(column)}`, `r.${identifier(column)}`))
    .join(' AND ');
  // The table as it is called now, whatever has its former name: of a view its owner's functions would run as this one's.
  const formatted = (sql: string): string => sql.replaceAll('%', '%%');
  const above = `SELECT ${below(formatted(versionOf(info, 'r')), formatted(versionOf(info, 't')))} FROM %I.%I t WHERE ${formatted(sameRow)}`;
  const found = `SELECT pg_catalog.array_agg(a.key), coalesce(pg_catalog.bool_or(NOT a.above), false)
      FROM (SELECT ${formatted(tableKeySql(info, 'r'))} AS key, (${above}) AS above FROM ${ROWS} r OFFSET 0) a
      WHERE a.above IS NOT NULL`;
  return `
  IF NOT (${noneSet(SETTING_INSERTED, SETTING_MOVED)}) THEN
    -- A row that a policy hides from the owner would be taken for gone: the server refuses instead.
    row_security := pg_catalog.current_setting('row_security');
    PERFORM pg_catalog.set_config('row_security', 'off', true);
    EXECUTE pg_catalog.format(${dollarQuoted(found, 'lockstep_again')}, TG_TABLE_SCHEMA, TG_TABLE_NAME) INTO again, is_below;
    PERFORM pg_catalog.set_config('row_security', row_security, true);
    IF is_below THEN
      ${REFUSE_BELOW}
    END IF;
  END IF;`;
}

/**
 * Records the rows that others' statements have deleted, and leaves tombstones. Only a session that is believed passes:
 * what its settings say has had each row recorded by itself.
 *
 * A plain insert of tombstones takes half the time of one that looks for a conflict first; where there is one it is done
 * again with that look.
 */
export function recordDeletesBody(info: TableInfo): string {
  const { source } = namesOf(info);
  const own = [SETTING_TX, SETTING_DEADLINE, SETTING_DELETE_BASE, SETTING_DELETE_EXACT];
  const gone = nextForeignSql(`greatest(${ifBelievedSql(versionOf(info, 'r'), 'highest')}, micros)`);
  const deleted = rowsOf(info, gone);
  const stayed = `(SELECT s.key, s.version FROM ${deleted} s WHERE NOT EXISTS (SELECT FROM pg_catalog.unnest(again) a(key) WHERE ${equal('a.key', 's.key')}))`;
  const tombstones = (rows: string): string =>
    `INSERT INTO lockstep.tombstone AS t (source, key, version) SELECT ${source}, ${rows}`;
  const looking = (rows: string): string =>
    `${tombstones(`d.key, pg_catalog.max(d.version) FROM ${rows} d GROUP BY d.key`)}
    ${raiseTombstone};`;
  return `
DECLARE
  micros pg_catalog.int8 := ${microsSql()};
  highest pg_catalog.float8 := ${highestSql()};
  conflicts pg_catalog.bool := false;
  row_security pg_catalog.text;
  again pg_catalog.text[];
  is_below pg_catalog.bool;
BEGIN
  IF NOT (${noneSet(...own)}) AND ${believesSession(info)} THEN RETURN NULL; END IF;${findAgain(info)}
  IF again IS NOT NULL THEN
    ${looking(stayed)}${recordTogether(info, 'd', stayed)}${notifyWhere('FOUND')}
    RETURN NULL;
  END IF;
  IF (SELECT pg_catalog.count(*) FROM (SELECT FROM ${ROWS} LIMIT ${MANY}) l) < ${MANY} THEN
    conflicts := true;
  ELSE
    BEGIN
      ${tombstones(`d.key, d.version FROM ${deleted} d`)};
    EXCEPTION WHEN unique_violation THEN conflicts := true;
    END;
  END IF;
  IF conflicts THEN
    ${looking(deleted)}
  END IF;${recordTogether(info, 'd', deleted)}${notifyWhere('FOUND')}
  RETURN NULL;
END`;
}
