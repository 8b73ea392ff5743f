import type {
  ConsumerRecord,
  ConsumerRegistry,
  Epochs,
  RecordedCollection,
  RecordedConsumer,
} from '@lockstep/core';
import { isMissingTable, storeError } from '../errors.js';
import { arrayText } from '../wire/arrays.js';
import { catalogueOf } from './catalogue.js';
import type { History } from './history.js';
import type { FeedParts } from './parts.js';

/** An identity that was replaced returns only when the present one was not observed for so long. */
const RETURN_MS = 5_000;
/** How often the registry notes that the present identity was observed, once another was replaced. */
const NOTE_MS = 2_000;
/** How often it does so otherwise: by it others know that somebody still deals with the consumer's changes. */
export const SEEN_MS = 30_000;
const MAX_LEFT = 16;
/** With more than this pending, the position is not looked for. */
const MAX_PENDING = 20_000;

const FIELDS = `c.source, c.revision::text AS revision, c.epoch::text AS epoch, c.collections::text AS collections, c.identity,
pg_catalog.array_to_json(c."left")::text AS "left", (c.replayed = c.epoch)::text AS replayed, c.switched_off::text AS switched_off,
(pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - c.changed_at) * 1000)::text AS ago`;

const READ = `SELECT ${FIELDS} FROM lockstep.consumer c WHERE c.consumer = $1 AND c.source = ANY ($2::text[])`;

/** One of the same name is replaced; of a source that is not attached there is no record. The rows of several sources are locked in one order. */
const REGISTER = `INSERT INTO lockstep.consumer AS c (consumer, source, revision, collections, catalogue, switched_off)
SELECT $1, s.source, 1, s.collections::jsonb, (SELECT ${catalogueOf('a.relation')} FROM lockstep.attached a WHERE a.source = s.source),
  EXISTS (SELECT FROM lockstep.consumer o WHERE o.consumer = $1 AND o.switched_off) FROM unnest($2::text[], $3::text[]) AS s(source, collections)
WHERE EXISTS (SELECT FROM lockstep.attached a WHERE a.source = s.source) ORDER BY s.source
ON CONFLICT (source, consumer) DO UPDATE
SET collections = CASE pg_catalog.jsonb_typeof(c.collections) WHEN 'object' THEN c.collections ELSE '{}' END || EXCLUDED.collections, revision = c.revision + 1, changed_at = pg_catalog.clock_timestamp()
WHERE NOT c.collections @> EXCLUDED.collections`;

/**
 * The meaning of a source's position: everything that committed before any of the transactions that are open now, or
 * that wait in the outbox, was dealt with. Those who deal with a change remove it from there afterwards.
 */
const observing = (history: string): string => `WITH h AS (${history}),
p AS (
  SELECT o.source, min(o.txid::text::int8) AS txid, count(*) AS pending FROM (
    SELECT source, txid FROM lockstep.outbox WHERE source = ANY ($2::text[]) AND (done IS NULL OR $1 <> ALL (done)) LIMIT ${MAX_PENDING}
  ) o GROUP BY o.source
)
SELECT ${FIELDS}, h.incarnation, coalesce(c.incarnation = h.incarnation, false)::text AS continued,
(c.observed_at > pg_catalog.clock_timestamp() - interval '${NOTE_MS} milliseconds')::text AS noted,
(c.observed_at > pg_catalog.clock_timestamp() - interval '${SEEN_MS} milliseconds')::text AS seen,
CASE WHEN (SELECT sum(pending) FROM p) < ${MAX_PENDING} OR NOT EXISTS (SELECT FROM p)
  THEN least(p.txid, pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text::int8)::text END AS txid
FROM lockstep.consumer c JOIN h ON h.source = c.source LEFT JOIN p ON p.source = c.source
WHERE c.consumer = $1 AND c.source = ANY ($2::text[])`;

/** Under the row's lock, so that one of many who notice begins the epoch. */
const beginning = (history: string): string => `WITH h AS (${history})
UPDATE lockstep.consumer c SET epoch = c.epoch + 1, identity = $3, incarnation = h.incarnation,
"left" = CASE WHEN c.identity IS NULL OR c.identity = $3 THEN c."left"
  ELSE (c."left" || c.identity)[greatest(1, pg_catalog.cardinality(c."left") + 2 - ${MAX_LEFT}):] END,
observed_at = pg_catalog.clock_timestamp(), holder = NULL, held_until = NULL
FROM h WHERE c.consumer = $1 AND c.source = ANY ($2::text[]) AND h.source = c.source
AND (c.identity IS DISTINCT FROM $3 OR c.incarnation IS DISTINCT FROM h.incarnation)
AND NOT (c.identity IS DISTINCT FROM $3 AND $3 = ANY (c."left")
  AND c.observed_at > pg_catalog.clock_timestamp() - interval '${RETURN_MS} milliseconds')`;

const NOTE = `UPDATE lockstep.consumer SET observed_at = pg_catalog.clock_timestamp(), ended = false
WHERE consumer = $1 AND source = ANY ($2::text[]) AND identity = $3 AND observed_at <= pg_catalog.clock_timestamp() - interval '${NOTE_MS} milliseconds'`;

const LEASE = `UPDATE lockstep.consumer c SET holder = $4, held_until = pg_catalog.clock_timestamp() + $5::float8 * interval '1 millisecond'
FROM unnest($2::text[], $3::int8[]) AS s(source, epoch)
WHERE c.consumer = $1 AND c.source = s.source AND c.epoch = s.epoch AND c.replayed <> c.epoch
AND (c.holder IS NULL OR c.holder = $4 OR c.held_until <= pg_catalog.clock_timestamp()) RETURNING c.source`;

const REPLAYED = `UPDATE lockstep.consumer c SET replayed = c.epoch, holder = NULL, held_until = NULL
FROM unnest($2::text[], $3::int8[]) AS s(source, epoch)
WHERE c.consumer = $1 AND c.source = s.source AND c.epoch = s.epoch AND c.replayed <> c.epoch AND c.holder = $4`;

const RELEASE = `UPDATE lockstep.consumer SET holder = NULL, held_until = NULL WHERE consumer = $1 AND holder = $2`;

const CONSUMERS = `SELECT c.consumer, c.source, c.collections::text AS collections, c.ended::text AS ended FROM lockstep.consumer c
WHERE c.source = ANY ($1::text[]) ORDER BY c.source, c.since`;

const END = 'UPDATE lockstep.consumer SET ended = true WHERE consumer = $1 AND source = ANY ($2::text[])';

const BEGIN =
  'UPDATE lockstep.consumer SET ended = false WHERE consumer = $1 AND source = ANY ($2::text[]) AND ended';

const SWITCH = 'UPDATE lockstep.consumer SET switched_off = $2::bool WHERE consumer = $1 RETURNING source';

const FORGET = 'DELETE FROM lockstep.consumer WHERE consumer = $1 AND source = ANY ($2::text[])';

type Row = Readonly<Record<string, unknown>>;

/** The registry in `lockstep.consumer`: a row for each consumer and source. */
export class PostgresRegistry implements ConsumerRegistry {
  readonly #parts: FeedParts;
  readonly #history: History;

  constructor(parts: FeedParts, history: History) {
    this.#parts = parts;
    this.#history = history;
  }

  async register(
    consumer: string,
    collections: readonly RecordedCollection[],
  ): Promise<readonly ConsumerRecord[]> {
    const bySource = new Map<string, Record<string, unknown>>();
    for (const { name, source, keyPrefix, holeTtlMs, holeOnEmpty, lookup, tags } of collections) {
      const recorded = bySource.get(source) ?? {};
      bySource.set(source, { ...recorded, [name]: { keyPrefix, holeTtlMs, holeOnEmpty, lookup, tags } });
    }
    const sources = [...bySource.keys()];
    await this.#rows(BEGIN, [consumer, arrayText(sources)], 'register');
    const known = await this.read(consumer, sources);
    const missing = collections.filter((each) => !known.some((record) => has(record, each)));
    if (missing.length === 0) return known;
    const records = [...bySource.values()].map((each) => JSON.stringify(each));
    await this.#rows(REGISTER, [consumer, arrayText(sources), arrayText(records)], 'register');
    return await this.read(consumer, sources);
  }

  async read(consumer: string, sources: readonly string[]): Promise<readonly ConsumerRecord[]> {
    const rows = await this.#rows(READ, [consumer, arrayText(sources)], 'registry');
    return recordsOf(consumer, rows);
  }

  async consumers(sources: readonly string[]): Promise<readonly RecordedConsumer[]> {
    const rows = await this.#rows(CONSUMERS, [arrayText(sources)], 'registry');
    return rows.map((row) => {
      const source = String(row['source']);
      const names = collectionsOf(source, String(row['collections'])).map(({ name }) => name);
      const ended = row['ended'] === 'true';
      return { consumer: String(row['consumer']), source, collections: names, ended };
    });
  }

  async end(consumer: string, sources: readonly string[]): Promise<void> {
    await this.#rows(END, [consumer, arrayText(sources)], 'end');
  }

  async switch(consumer: string, off: boolean): Promise<readonly string[]> {
    const rows = await this.#rows(SWITCH, [consumer, String(off)], 'switch');
    return rows.map((row) => String(row['source']));
  }

  async forget(consumer: string, sources: readonly string[]): Promise<void> {
    await this.#rows(FORGET, [consumer, arrayText(sources)], 'forget');
  }

  async observe(
    consumer: string,
    sources: readonly string[],
    identity: string,
  ): Promise<readonly ConsumerRecord[]> {
    const history = await this.#history.sql();
    const wanted = [consumer, arrayText(sources)];
    const read = (): Promise<readonly Row[]> => this.#rows(observing(history), wanted, 'observe');
    const rows = await read();
    if (rows.some((row) => row['identity'] !== identity || row['continued'] !== 'true')) {
      await this.#rows(beginning(history), [...wanted, identity], 'a new epoch');
      return recordsOf(consumer, await read());
    }
    if (rows.some((row) => row[row['left'] === '[]' ? 'seen' : 'noted'] !== 'true')) {
      await this.#rows(NOTE, [...wanted, identity], 'observe');
    }
    return recordsOf(consumer, rows);
  }

  async lease(consumer: string, epochs: Epochs, holder: string, leaseMs: number): Promise<readonly string[]> {
    const values = [consumer, ...arraysOf(epochs), holder, String(leaseMs)];
    const rows = await this.#rows(LEASE, values, 'lease of a replay');
    return rows.map((row) => String(row['source']));
  }

  async replayed(consumer: string, epochs: Epochs, holder: string): Promise<void> {
    await this.#rows(REPLAYED, [consumer, ...arraysOf(epochs), holder], 'end of a replay');
  }

  async release(consumer: string, holder: string): Promise<void> {
    await this.#rows(RELEASE, [consumer, holder], 'release of a replay');
  }

  async #rows(sql: string, values: readonly string[], what: string): Promise<readonly Row[]> {
    const { options, session } = this.#parts;
    try {
      return await session.rows(sql, values, options.statementTimeoutMs, `feed: ${what}`);
    } catch (error) {
      // Nothing is attached, so that nobody is recorded.
      if (isMissingTable(error)) return [];
      throw storeError(error, `feed: ${what}`, false);
    }
  }
}

function arraysOf(epochs: Epochs): string[] {
  return [arrayText([...epochs.keys()]), arrayText([...epochs.values()])];
}

/**
 * Roles that run Lockstep on a table write its records themselves. What can't be one is none: its source is not
 * claimed, and the others are.
 */
function recordsOf(consumer: string, rows: readonly Row[]): ConsumerRecord[] {
  return rows.flatMap((row) => recordOf(consumer, row) ?? []);
}

function recordOf(consumer: string, row: Row): ConsumerRecord | undefined {
  const source = String(row['source']);
  const [revision, epoch] = [Number(row['revision']), Number(row['epoch'])];
  if (!Number.isSafeInteger(revision) || !Number.isSafeInteger(epoch)) return undefined;
  const { txid, incarnation, identity } = row;
  return {
    consumer,
    source,
    revision,
    epoch,
    collections: collectionsOf(source, String(row['collections'])),
    identity: typeof identity === 'string' ? identity : undefined,
    left: JSON.parse(String(row['left'])) as string[],
    switchedOff: row['switched_off'] === 'true',
    replayed: row['replayed'] === 'true',
    changedAgoMs: Number(row['ago']),
    position: typeof txid === 'string' ? `${String(incarnation)}:${txid}` : undefined,
  };
}

function collectionsOf(source: string, text: string): RecordedCollection[] {
  const recorded: unknown = JSON.parse(text);
  if (typeof recorded !== 'object' || recorded === null) return [];
  return Object.entries(recorded).flatMap(([name, each]: [string, unknown]) =>
    isRecorded(each) ? { ...each, name, source } : [],
  );
}

function isRecorded(each: unknown): each is Omit<RecordedCollection, 'name' | 'source'> {
  if (typeof each !== 'object' || each === null) return false;
  const { keyPrefix, holeTtlMs, holeOnEmpty } = each as Record<string, unknown>;
  return (
    typeof keyPrefix === 'string' &&
    Number.isSafeInteger(holeTtlMs) &&
    Number(holeTtlMs) >= 0 &&
    typeof holeOnEmpty === 'boolean'
  );
}

function has(record: ConsumerRecord, collection: RecordedCollection): boolean {
  return record.collections.some(
    (each) =>
      each.source === collection.source &&
      each.name === collection.name &&
      each.keyPrefix === collection.keyPrefix &&
      each.holeTtlMs === collection.holeTtlMs &&
      each.holeOnEmpty === collection.holeOnEmpty &&
      String(each.lookup) === String(collection.lookup) &&
      JSON.stringify(each.tags) === JSON.stringify(collection.tags),
  );
}
