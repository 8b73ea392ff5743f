import { microsSql } from '../sql/stamp.js';
import type { FeedParts } from './parts.js';
import { SEEN_MS } from './registry.js';

/**
 * Forgets deletes that no buffered write can be older than. Bounded; those ahead of the clock stay. Consumers are told
 * how far into the store's history they reached: who replays from before that does not hear of them.
 */
const TOMBSTONES = `WITH gone AS (
  DELETE FROM lockstep.tombstone t USING (
    SELECT source, key FROM lockstep.tombstone WHERE version < ${microsSql('pg_catalog.now()')} - $1::int8 * 1000
    ORDER BY version LIMIT 5000 FOR UPDATE SKIP LOCKED
  ) d WHERE t.source = d.source AND t.key = d.key
  RETURNING t.source, pg_catalog.pg_current_xact_id()::text::int8 - pg_catalog.age(t.xmin) AS txid
)
UPDATE lockstep.consumer c SET pruned = greatest(c.pruned, g.txid)
FROM (SELECT source, max(txid) AS txid FROM gone GROUP BY source) g WHERE c.source = g.source`;

/** Removes what all consumers have dealt with that are left: one of them may be recorded no more. */
const OUTBOX = `DELETE FROM lockstep.outbox WHERE ctid = ANY (ARRAY(
  SELECT o.ctid FROM lockstep.outbox o WHERE o.done IS NOT NULL
  AND NOT EXISTS (SELECT FROM lockstep.consumer c WHERE c.source = o.source AND c.consumer <> ALL (o.done))
  LIMIT 5000 FOR UPDATE SKIP LOCKED
))`;

/**
 * A consumer of which no relay was seen for so long does not keep its changes any longer. When one comes back, it finds
 * a gap in the history that it knows, and has everything since its last position replayed.
 */
const ABSENT = `WITH absent AS (
  SELECT source, consumer FROM lockstep.consumer
  WHERE coalesce(observed_at, changed_at) < pg_catalog.clock_timestamp() - greatest($1::int8, ${2 * SEEN_MS}) * interval '1 millisecond'
), gone AS (
  DELETE FROM lockstep.outbox WHERE ctid = ANY (ARRAY(
    SELECT o.ctid FROM lockstep.outbox o
    WHERE o.changed_at < pg_catalog.clock_timestamp() - $1::int8 * interval '1 millisecond'
    AND EXISTS (SELECT FROM absent a WHERE a.source = o.source)
    AND NOT EXISTS (SELECT FROM lockstep.consumer c WHERE c.source = o.source AND c.consumer <> ALL (coalesce(o.done, '{}'))
      AND NOT EXISTS (SELECT FROM absent a WHERE a.source = c.source AND a.consumer = c.consumer))
    LIMIT 5000 FOR UPDATE SKIP LOCKED
  )) RETURNING source
)
UPDATE lockstep.consumer c SET incarnation = NULL FROM absent a
WHERE c.source = a.source AND c.consumer = a.consumer AND c.incarnation IS NOT NULL AND c.source IN (SELECT source FROM gone)`;

/** Removes what nobody needs any more. */
export async function prune({ session, options }: FeedParts): Promise<void> {
  const { retainMs, statementTimeoutMs } = options;
  await session.rows(TOMBSTONES, [String(retainMs)], statementTimeoutMs, 'feed: prune');
  await session.rows(OUTBOX, [], statementTimeoutMs, 'feed: prune');
  await session.rows(ABSENT, [String(retainMs)], statementTimeoutMs, 'feed: prune');
}
