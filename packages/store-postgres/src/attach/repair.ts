import { type TableInfo, tableKeySql } from '../sql/catalog.js';
import { identifier, literal } from '../sql/quote.js';
import { believedSql, CHANNEL, microsSql, nextForeignSql, SETTING_STAMPED } from '../sql/stamp.js';

/** Keys that are reported; more than these are only counted. */
const MAX_KEYS = 10_000;

/** The result of one part of `repair`. */
export interface RepairedRow {
  readonly n: number;
  readonly keys: readonly string[] | null;
}

const report = (keys: string): string =>
  `SELECT pg_catalog.count(*)::pg_catalog.int4 AS n, (pg_catalog.array_agg(r.key))[1:${MAX_KEYS}] AS keys FROM ${keys} r`;

/**
 * Brings versions that are not believed down to the clock, in rows, tombstones and the feed, and records each key
 * as changed. Run in one transaction that reads nothing older than itself; the stamping triggers are passed by. The
 * three in the middle report what they have changed.
 */
export function repairStatements(info: TableInfo): string[] {
  const source = literal(info.source);
  const version = identifier(info.spec.versionColumn);
  const now = nextForeignSql(microsSql());
  return [
    'SET TRANSACTION ISOLATION LEVEL READ COMMITTED',
    `SELECT pg_catalog.set_config('${SETTING_STAMPED}', ${source}, true)`,
    `WITH w AS (UPDATE ${info.relation} t SET ${version} = ${now} WHERE NOT ${believedSql(`t.${version}`)}
RETURNING ${tableKeySql(info, 't')} AS key, t.${version} AS version),
o AS (INSERT INTO lockstep.outbox (version, source, key, op) SELECT version, ${source}, key, 'p' FROM w)
${report('w')}`,
    // A version of 0 is a tombstone that only holds its key.
    `WITH d AS (DELETE FROM lockstep.tombstone t WHERE t.source OPERATOR(pg_catalog.=) ${source} AND NOT ${believedSql('t.version')}
AND t.version OPERATOR(pg_catalog.<>) 0 RETURNING t.key),
o AS (INSERT INTO lockstep.outbox (version, source, key, op) SELECT ${now}, ${source}, key, 'd' FROM d)
${report('d')}`,
    `WITH d AS (DELETE FROM lockstep.outbox t WHERE t.source OPERATOR(pg_catalog.=) ${source} AND (NOT ${believedSql('t.version')}
OR EXISTS (SELECT FROM pg_catalog.unnest(t.versions) v WHERE NOT ${believedSql('v')})) RETURNING t.op, coalesce(t.keys, ARRAY[t.key]) AS keys),
k AS (SELECT d.op, u.key FROM d, pg_catalog.unnest(d.keys) u(key)),
o AS (INSERT INTO lockstep.outbox (version, source, key, op) SELECT ${now}, ${source}, key, op FROM k)
${report('k')}`,
    `SELECT pg_catalog.pg_notify('${CHANNEL}', '') WHERE pg_catalog.current_setting('max_prepared_transactions') OPERATOR(pg_catalog.=) '0'`,
  ];
}
