import type { KeptChange, KeptOfRow } from '@lockstep/core';
import type { Session } from '../wire/session.js';

const CHANGES = `SELECT coalesce(versions[pg_catalog.array_position(keys, $2::text)], version)::text AS version, op::text AS op,
pg_catalog.date_part('epoch', changed_at) * 1000 AS at, coalesce(done, '{}') AS done, before IS NOT NULL OR after IS NOT NULL AS tells
FROM lockstep.outbox WHERE source = $1 AND (key = $2 OR keys @> ARRAY[$2::text]) ORDER BY version, id LIMIT 100`;
const TOMBSTONE = 'SELECT version::text AS version FROM lockstep.tombstone WHERE source = $1 AND key = $2';

/** What the outbox and the tombstones hold of a row. No index has the outbox's keys: it is short, and this is for tools. */
export async function keptOf(
  session: Session,
  source: string,
  key: string,
  timeoutMs: number,
): Promise<KeptOfRow> {
  const rows = await session.rows(CHANGES, [source, key], timeoutMs, 'feed: kept');
  const [tombstone] = await session.rows(TOMBSTONE, [source, key], timeoutMs, 'feed: kept');
  return {
    changes: rows.map(
      (row): KeptChange => ({
        version: Number(row['version']),
        op: row['op'] === 'd' ? 'delete' : 'put',
        changedAtMs: Number(row['at']),
        done: row['done'] as readonly string[],
        tellsValues: row['tells'] === true,
      }),
    ),
    tombstone: tombstone === undefined ? undefined : Number(tombstone['version']),
  };
}
