import {
  type Change,
  type Clock,
  type ConsumerState,
  type FeedConsumeOptions,
  MAX_KEY_LENGTH,
} from '@lockstep/core';
import { Backoff, sleep } from '@lockstep/core/kit';
import { isMissingTable } from '../errors.js';
import { minus } from '../sql/operators.js';
import { limitSql, microsSql } from '../sql/stamp.js';
import { type ChangeRecord, toChange } from '../transactions/transactions.js';
import { arrayText } from '../wire/arrays.js';
import { ClaimStart, LOWEST, type Position, RECENT_US } from './claim-start.js';
import type { FeedParts } from './parts.js';
import { Pruning } from './prune.js';
import { feedDeadline } from './too-long.js';
import { FeedTransaction } from './transaction.js';

/**
 * Oldest first, but by what can be locked, never by a cursor that outlives the transaction: a change that commits late is
 * taken when it is there. Our own writers' changes only after their grace. Ordered by the columns, not by the texts that
 * the query gives their names to, which would sort all of the outbox for each claim.
 */
const CLAIM = `SELECT ctid::text AS place, version::text AS version, id::text AS id, source, key, op::text AS op,
pg_catalog.date_part('epoch', changed_at) * 1000 AS at, keys, versions::text[] AS versions,
CASE WHEN before IS NOT NULL OR after IS NOT NULL THEN pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(before, after))::text END AS texts, ${limitSql()}::text AS highest
FROM lockstep.outbox
WHERE source = ANY (?::text[]) AND (done IS NULL OR ?::text <> ALL (done)) AND (version % 4 = 0 OR changed_at <= pg_catalog.clock_timestamp() - ? * interval '1 millisecond')
AND (outbox.version, outbox.id) > (coalesce(?::int8, ${minus(microsSql('pg_catalog.now()'), String(RECENT_US))}), ?::int8)
ORDER BY outbox.version, outbox.id LIMIT ? FOR UPDATE SKIP LOCKED`;

/** By place: nobody moves a row that is locked. */
const TAKE = 'DELETE FROM lockstep.outbox WHERE ctid = ANY (?::tid[])';

/**
 * As {@link TAKE}, on behalf of a consumer: only if the registry still says what the claim went by, and only
 * those that no other consumer has to deal with; the others note who has done so.
 */
const TAKE_AS = `WITH k AS MATERIALIZED (
  SELECT count(*) = pg_catalog.cardinality(?::text[]) AS stands FROM unnest(?::text[], ?::int8[], ?::int8[]) AS s(source, revision, epoch)
  JOIN lockstep.consumer c ON c.consumer = ? AND c.source = s.source AND c.revision = s.revision AND c.epoch = s.epoch
), o AS MATERIALIZED (
  SELECT o.ctid AS place, NOT EXISTS (
    SELECT FROM lockstep.consumer c WHERE c.source = o.source AND c.consumer <> ? AND c.consumer <> ALL (coalesce(o.done, '{}'))
  ) AS last
  FROM lockstep.outbox o WHERE o.ctid = ANY (?::tid[]) AND (SELECT stands FROM k)
), gone AS (
  DELETE FROM lockstep.outbox WHERE ctid = ANY (ARRAY(SELECT place FROM o WHERE last))
), noted AS (
  UPDATE lockstep.outbox SET done = coalesce(done, '{}') || ?::text WHERE ctid = ANY (ARRAY(SELECT place FROM o WHERE NOT last))
)
SELECT stands FROM k`;

const PRUNE_EVERY_MS = 10_000;
/** Below the relay's lag bound (G4): a cache that is back is not kept waiting for longer. */
const AFTER_FAILURES = { firstMs: 100, lastMs: 400 };

/** The most batches of one transaction, whose rows are locked until its end. */
const MAX_CLAIMS = 16;

interface Claimed extends ChangeRecord, Position {
  readonly place: string;
  readonly keys: readonly string[] | null;
  readonly versions: readonly string[] | null;
  /** The highest version that is believed. */
  readonly highest: string;
}

interface Claim {
  readonly rows: readonly Claimed[];
  readonly changes: readonly Change[];
  /** True where more may wait. */
  readonly isFull: boolean;
}

/** How many rows to claim for a batch of changes: by what the rows before recorded. */
class ClaimSize {
  static readonly #MIN_ROWS = 8;
  readonly batch: number;
  rows: number;

  constructor(batch: number) {
    this.batch = batch;
    this.rows = batch;
  }

  note(rows: number, changes: number): void {
    if (changes > 0)
      this.rows = Math.min(
        this.batch,
        Math.max(ClaimSize.#MIN_ROWS, Math.ceil((this.batch * rows) / changes)),
      );
  }
}

interface Claims {
  readonly size: ClaimSize;
  readonly start: ClaimStart;
}

export type Handler = (changes: readonly Change[]) => Promise<void>;

/** One consumer's loop. Resolves when its signal has aborted and its batch is over. */
export async function consume(
  parts: FeedParts,
  handler: Handler,
  options: FeedConsumeOptions,
): Promise<void> {
  const { clock, listener } = parts;
  const claims: Claims = { size: new ClaimSize(options.batchSize ?? 500), start: new ClaimStart(clock) };
  const release = listener?.use();
  const backoff = new Backoff({ ...AFTER_FAILURES, clock });
  const pruning = new Pruning(parts);
  let prunedAt = Number.NEGATIVE_INFINITY;
  try {
    while (!options.signal.aborted) {
      const alarm = new Alarm(parts, options.signal);
      try {
        const taken = await takeBatches(parts, handler, options, claims);
        backoff.reset();
        if (taken === 'differs') {
          claims.start.failed();
          await options.claimant?.differs();
          continue;
        }
        if (clock.monotonic() - prunedAt > PRUNE_EVERY_MS) {
          prunedAt = clock.monotonic();
          await pruning.pass();
        }
        if (taken === 'all') await alarm.wait(parts.options.pollMs);
      } catch (error) {
        claims.start.failed();
        // Without an outbox there is nothing to take.
        if (!isMissingTable(error)) reportError(options, error);
        await backoff.wait(options.signal);
      } finally {
        alarm.end();
      }
    }
  } finally {
    release?.();
  }
}

export function reportError(options: FeedConsumeOptions, error: unknown): void {
  try {
    options.onError?.(error);
  } catch {
    // A listener's failure is not the feed's.
  }
}

/**
 * Claims a batch, hands it over, and commits the claim. The rows stay locked meanwhile: a consumer that
 * dies loses its connection, and with it the claim. Where more waits than a batch holds the transaction goes on: the next
 * batch is claimed while this one is handed over. Of several, those before one that is refused are taken. `differs`: the
 * registry says something else by now, and the batch was given back.
 */
async function takeBatches(
  parts: FeedParts,
  handler: Handler,
  options: FeedConsumeOptions,
  { size, start }: Claims,
): Promise<'all' | 'some' | 'differs'> {
  const { claimant, sources, signal } = options;
  const states = claimant === undefined ? [] : sources.flatMap((source) => claimant.state(source) ?? []);
  const wanted = claimant === undefined ? sources : states.map(({ source }) => source);
  if (wanted.length === 0) return 'all';
  const transaction = await FeedTransaction.begin(parts);
  const claim = async (behind: Position | undefined): Promise<Claim> => {
    const most = size.rows;
    const beganAtMs = parts.clock.monotonic();
    const rows = await transaction.rows<Claimed>('claim', CLAIM, [
      arrayText(wanted),
      claimant?.consumer ?? '',
      parts.options.graceMs,
      behind?.version ?? null,
      behind?.id ?? LOWEST.id,
      most,
    ]);
    if (behind === LOWEST) start.searched(parts.clock.monotonic() - beganAtMs);
    const changes = rows.flatMap(changesOf);
    size.note(rows.length, changes.length);
    return { rows, changes, isFull: rows.length === most };
  };
  /** Of several batches those before the one that is refused are taken. */
  const commit = async (next: Promise<Claim> | undefined): Promise<void> => {
    await next?.catch(() => undefined);
    await transaction.commit();
  };
  let next: Promise<Claim> | undefined = claim(start.next);
  let reached: Position | undefined;
  try {
    for (let n = 1; ; n++) {
      const { changes, isFull, rows }: Claim = await next;
      const last = rows.at(-1);
      next = undefined;
      reached = isFull ? last : undefined;
      if (last !== undefined && isFull && n < MAX_CLAIMS && !signal.aborted) {
        next = claim(last);
        // Awaited once this batch is over.
        next.catch(() => undefined);
      }
      try {
        await handOver(parts, handler, inBatches(changes, size.batch));
      } catch (error) {
        await commit(next).catch(() => undefined);
        throw error;
      }
      const taken = rows.length === 0 || (await take(transaction, claimant?.consumer, states, rows));
      if (!taken || next === undefined) {
        await commit(next);
        if (!taken) return 'differs';
        start.ended(reached);
        return isFull ? 'some' : 'all';
      }
    }
  } finally {
    await transaction.end();
  }
}

async function handOver(
  { clock, options: { handlerTimeoutMs } }: FeedParts,
  handler: Handler,
  batches: Iterable<readonly Change[]>,
): Promise<void> {
  for (const batch of batches) {
    await feedDeadline(clock, 'the handler', handlerTimeoutMs).bound(handler(batch));
  }
}

/** False where the registry says something else than the claim went by: nothing was taken. */
async function take(
  transaction: FeedTransaction,
  consumer: string | undefined,
  states: readonly ConsumerState[],
  rows: readonly Claimed[],
): Promise<boolean> {
  const places = arrayText(rows.map(({ place }) => place));
  if (consumer === undefined) {
    await transaction.rows('taking a batch', TAKE, [places]);
    return true;
  }
  const sources = arrayText(states.map(({ source }) => source));
  const [answer] = await transaction.rows<{ stands: boolean }>('taking a batch', TAKE_AS, [
    sources,
    sources,
    arrayText(states.map(({ revision }) => revision)),
    arrayText(states.map(({ epoch }) => epoch)),
    consumer,
    consumer,
    places,
    consumer,
  ]);
  return answer?.stands === true;
}

/** A version that is not believed says only that there was a change: what was cached before it goes. */
function plausible(version: string, { highest, at }: Claimed): string {
  const [number, limit] = [Number(version), Number(highest)];
  if (number >= 1 && number <= limit) return version;
  // The time may be an infinity.
  return String(Math.floor(Math.min(Math.max(1, Number(at) * 1000), limit)));
}

/** Roles that run Lockstep on a table write its records themselves: an array of keys may hold anything. */
const isKey = (key: unknown): boolean =>
  typeof key === 'string' && key.length > 0 && key.length <= MAX_KEY_LENGTH;

/** The changes that a row records. */
function changesOf(row: Claimed): Change[] {
  const { keys, versions } = row;
  const change = (key: string, version: string): Change =>
    toChange({ ...row, key, version: plausible(version, row) });
  const changes =
    keys === null || versions === null
      ? [change(row.key, row.version)]
      : keys.map((key, index) => change(key, versions[index] ?? row.version));
  return changes.filter(({ key }) => isKey(key));
}

function* inBatches<T>(items: readonly T[], size: number): Generator<readonly T[]> {
  for (let from = 0; from < items.length; from += size) yield items.slice(from, from + size);
}

/** A wait that ends early when a notification arrived since the alarm was set, or the signal aborts. */
class Alarm {
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  readonly #early = new AbortController();
  readonly #wake = (): void => this.#early.abort();
  readonly #stop: (() => void) | undefined;

  constructor({ clock, listener }: FeedParts, signal: AbortSignal) {
    this.#clock = clock;
    this.#signal = signal;
    this.#stop = listener?.onNext(this.#wake);
    signal.addEventListener('abort', this.#wake, { once: true });
    if (signal.aborted) this.#wake();
  }

  wait(ms: number): Promise<void> {
    return sleep(this.#clock, ms, this.#early.signal);
  }

  end(): void {
    this.#stop?.();
    this.#signal.removeEventListener('abort', this.#wake);
  }
}
