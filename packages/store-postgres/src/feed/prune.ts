import { microsSql } from '../sql/stamp.js';
import { LOWEST, type Position } from './claim-start.js';
import type { FeedParts } from './parts.js';
import { SEEN_MS } from './registry.js';
import { FeedTransaction } from './transaction.js';

/** The most rows of each table that one pass looks at. */
const ROWS = 5_000;

/**
 * Forgets deletes that no buffered write can be older than. Bounded; those ahead of the clock stay. Consumers are told
 * how far into the store's history they reached: who replays from before that does not hear of them.
 */
const TOMBSTONES = `WITH gone AS (
  DELETE FROM lockstep.tombstone t WHERE t.ctid = ANY (ARRAY(
    SELECT d.ctid FROM lockstep.tombstone d WHERE d.version < ${microsSql('pg_catalog.now()')} - ?::int8 * 1000
    ORDER BY d.version LIMIT ${ROWS} FOR UPDATE SKIP LOCKED
  ))
  RETURNING t.source, pg_catalog.pg_current_xact_id()::text::int8 - pg_catalog.age(t.xmin) AS txid
)
UPDATE lockstep.consumer c SET pruned = greatest(c.pruned, g.txid)
FROM (SELECT source, max(txid) AS txid FROM gone GROUP BY source) g WHERE c.source = g.source`;

/** The last row of the next part of the outbox; none where it is the last part. */
const PART = `SELECT o.version::text AS version, o.id::text AS id FROM lockstep.outbox o
WHERE (o.version, o.id) > (?::int8, ?::int8) ORDER BY o.version, o.id OFFSET ${ROWS - 1} LIMIT 1`;

const IN_PART = '(o.version, o.id) > (?::int8, ?::int8) AND (o.version, o.id) <= (?::int8, ?::int8)';

/** Removes what all consumers have dealt with that are left: one of them may be recorded no more. */
const OUTBOX = `DELETE FROM lockstep.outbox WHERE ctid = ANY (ARRAY(
  SELECT o.ctid FROM lockstep.outbox o WHERE ${IN_PART} AND o.done IS NOT NULL
  AND NOT EXISTS (SELECT FROM lockstep.consumer c WHERE c.source = o.source AND c.consumer <> ALL (o.done))
  FOR UPDATE SKIP LOCKED
))`;

/**
 * A consumer of which no relay was seen for so long does not keep its changes any longer. When one comes back, it finds
 * a gap in the history that it knows, and has everything since its last position replayed.
 */
const ABSENT = `WITH absent AS (
  SELECT source, consumer FROM lockstep.consumer
  WHERE coalesce(observed_at, changed_at) < pg_catalog.clock_timestamp() - greatest(?::int8, ${2 * SEEN_MS}) * interval '1 millisecond'
), gone AS (
  DELETE FROM lockstep.outbox WHERE ctid = ANY (ARRAY(
    SELECT o.ctid FROM lockstep.outbox o
    WHERE ${IN_PART} AND o.changed_at < pg_catalog.clock_timestamp() - ?::int8 * interval '1 millisecond'
    AND EXISTS (SELECT FROM absent a WHERE a.source = o.source)
    AND NOT EXISTS (SELECT FROM lockstep.consumer c WHERE c.source = o.source AND c.consumer <> ALL (coalesce(o.done, '{}'))
      AND NOT EXISTS (SELECT FROM absent a WHERE a.source = c.source AND a.consumer = c.consumer))
    FOR UPDATE SKIP LOCKED
  )) RETURNING source
)
UPDATE lockstep.consumer c SET incarnation = NULL FROM absent a
WHERE c.source = a.source AND c.consumer = a.consumer AND c.incarnation IS NOT NULL AND c.source IN (SELECT source FROM gone)`;

const HIGHEST: Position = { version: '9223372036854775807', id: '9223372036854775807' };

/** Removes what nobody needs any more: of the outbox one part in each pass, so that none takes longer for its length. */
export class Pruning {
  readonly #parts: FeedParts;
  #behind = LOWEST;

  constructor(parts: FeedParts) {
    this.#parts = parts;
  }

  async pass(): Promise<void> {
    const retainMs = String(this.#parts.options.retainMs);
    const transaction = await FeedTransaction.begin(this.#parts);
    const prune = (sql: string, values: readonly string[]) => transaction.rows('prune', sql, values);
    try {
      await prune(TOMBSTONES, [retainMs]);
      const { version, id } = this.#behind;
      const [last] = await transaction.rows<Position>('prune', PART, [version, id]);
      const end = last ?? HIGHEST;
      const part = [version, id, end.version, end.id];
      await prune(OUTBOX, part);
      await prune(ABSENT, [retainMs, ...part, retainMs]);
      await transaction.commit();
      this.#behind = last ?? LOWEST;
    } finally {
      await transaction.end();
    }
  }
}
