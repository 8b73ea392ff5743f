import type { TableInfo } from '../../sql/catalog.js';
import { tableKeySql } from '../../sql/catalog.js';
import { textsSql } from '../../sql/declared.js';
import { dollarQuoted, identifier, literal } from '../../sql/quote.js';
import {
  believedSql,
  CHANNEL,
  ifBelievedSql,
  isForeignSql,
  microsSql,
  nextDeletedSql,
  nextForeignSql,
  nextOwnSql,
  SETTING_DEADLINE,
  SETTING_DELETE_BASE,
  SETTING_DELETE_EXACT,
  SETTING_TX,
} from '../../sql/stamp.js';
import {
  believesSession,
  inOwnTransaction,
  isNameable,
  keepsSnapshot,
  mayNotify,
  NOT_ORIGIN,
  namesOf,
  noneSet,
  notifyWhere,
  recordDelete,
  recordNameableDelete,
  recordsByStatement,
  refuseIfLate,
  setting,
  stampByTransaction,
} from './pieces.js';

/** Records what was deleted, and leaves a tombstone. Foreign deletes outside Lockstep's transactions take the short way. */
export function recordDeleteBody(info: TableInfo): string {
  const { oldKey, oldVersion } = namesOf(info);
  const clock = microsSql();
  // What the settings of others say counts for nothing.
  const leaveToStatement = recordsByStatement(info)
    ? `
  IF ${noneSet(NOT_ORIGIN)} AND NOT ${believesSession(info)} THEN RETURN NULL; END IF;`
    : '';
  return `
DECLARE
  old_key pg_catalog.text := ${oldKey};
  base pg_catalog.text;
  exact pg_catalog.text;
  last pg_catalog.int8;
  gone pg_catalog.int8;
BEGIN
  IF ${noneSet(SETTING_TX, SETTING_DEADLINE, SETTING_DELETE_BASE, SETTING_DELETE_EXACT)} AND ${isNameable('old_key')} THEN
    gone := ${nextForeignSql(`greatest(${ifBelievedSql(oldVersion)}, ${clock})`)};${recordNameableDelete(info, 'old_key', 'gone')}${notifyWhere('true')}
    RETURN NULL;
  END IF;${leaveToStatement}${refuseIfLate(info)}
  last := ${ifBelievedSql(oldVersion)};
  base := ${setting(SETTING_DELETE_BASE)};
  exact := ${setting(SETTING_DELETE_EXACT)};
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
      gone := ${nextDeletedSql('greatest(last, base::pg_catalog.int8)')};
    ELSE
      gone := greatest(last, ${clock});${stampByTransaction(info, 'gone', 'gone')}
    END IF;
  END IF;${recordDelete(info, 'old_key', 'gone')}${notifyWhere(isForeignSql('gone'))}
  RETURN NULL;
END`;
}

/** Records every row of a table (or of one leaf partition) about to be truncated. */
export function recordTruncateBody(info: TableInfo): string {
  // The statement goes through format(), which reads per cent signs.
  const formatted = (sql: string): string => sql.replaceAll('%', '%%');
  const bare = `t.${identifier(info.spec.versionColumn)}`;
  const source = formatted(literal(info.source));
  const key = formatted(tableKeySql(info, 't'));
  const declares = info.declared.columns.length > 0;
  const texts = declares ? `, ${formatted(textsSql(info.declared, 't'))} AS texts` : '';
  const recorded = `
    WITH gone AS (
      SELECT ${key} AS key,
        CASE WHEN %L::pg_catalog.bool THEN ${nextOwnSql('w.base')} ELSE ${nextForeignSql('w.base')} END AS version${texts}
      FROM ONLY %I.%I t, LATERAL (SELECT greatest(${formatted(ifBelievedSql(bare))}, ${microsSql()}) AS base OFFSET 0) w
    ), buried AS (
      INSERT INTO lockstep.tombstone AS b (source, key, version) SELECT ${source}, key, version FROM gone
      WHERE ${isNameable('key')}
      ON CONFLICT (source, key) DO UPDATE SET version = greatest(${ifBelievedSql('b.version')}, EXCLUDED.version)
    )
    INSERT INTO lockstep.outbox (version, source, key, op${declares ? ', before' : ''})
    SELECT version, ${source}, key, 'd'${declares ? ', texts' : ''} FROM gone`;
  return `
DECLARE
  own pg_catalog.bool := ${inOwnTransaction(info)};
BEGIN
  -- Rows that this transaction's snapshot does not show would go, and nobody would be told.
  IF ${keepsSnapshot} THEN
    RAISE EXCEPTION 'TRUNCATE of a table that Lockstep keeps in step needs the isolation level read committed'
      USING ERRCODE = 'feature_not_supported', HINT = 'Begin with SET TRANSACTION ISOLATION LEVEL READ COMMITTED, or use DELETE.';
  END IF;
  EXECUTE pg_catalog.format(${dollarQuoted(recorded, 'lockstep_truncate')}, own, TG_TABLE_SCHEMA, TG_TABLE_NAME);
  IF NOT own AND ${mayNotify} THEN PERFORM pg_catalog.pg_notify('${CHANNEL}', ''); END IF;
  RETURN NULL;
END`;
}
