import { type Change, type FeedConsumeOptions, NO_VERSION } from '@lockstep/core';
import { Backoff } from '@lockstep/core/kit';
import { atMost, equal, over } from '../sql/operators.js';
import { identifier } from '../sql/quote.js';
import { believedSql, microsSql } from '../sql/stamp.js';
import { type ChangeRecord, toChange } from '../transactions/transactions.js';
import { arrayText } from '../wire/arrays.js';
import { type Handler, reportError } from './consume.js';
import type { History } from './history.js';
import type { FeedParts } from './parts.js';
import { feedDeadline } from './too-long.js';
import { FeedTransaction } from './transaction.js';

const MAX_TRIES = 8;
const BETWEEN_TRIES = { firstMs: 100, lastMs: 5_000 };

/** Looking for the next match may pass over most of a table. */
const FETCH_TIMEOUT_MS = 600_000;

/** Transactions are compared by 32 bits of their ids, which tell the earlier one only if it is not too far back. */
const MAX_TRANSACTIONS = 2 ** 31 - 10_000_000;

const ATTACHED = (history: string): string => `WITH h AS (${history})
SELECT a.source, a.relation, a.version_column, a.key_sql, pg_catalog.to_jsonb(a) ->> 'declared_sql' AS declared_sql, h.incarnation,
pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text AS next,
(SELECT max(c.pruned)::text FROM lockstep.consumer c WHERE c.source = a.source) AS pruned
FROM lockstep.attached a JOIN h ON h.source = a.source WHERE a.source = ANY ($1::text[])`;

/** A row whose version is not believed was changed at the latest now: what is cached of it goes. */
const plausible = (version: string): string =>
  `CASE WHEN ${believedSql(version)} THEN ${version} ELSE ${microsSql()} END`;

/** The row was written by a transaction that was not over yet at the position; subtransactions come after theirs. */
const changedSince = (row: string): string =>
  atMost(
    `pg_catalog.age(${row}.xmin)`,
    'pg_catalog.age(?::pg_catalog.text::pg_catalog.xid8::pg_catalog.xid)',
  );

/**
 * Every change since positions, from what the database still knows: rows and tombstones tell which transaction
 * wrote them. Handled outbox rows are not needed for it, so none are kept. No clock has a part in it.
 */
export async function replay(
  parts: FeedParts,
  history: History,
  since: ReadonlyMap<string, readonly string[]>,
  handler: Handler,
  options: FeedConsumeOptions,
): Promise<void> {
  const attached = await parts.session.rows(
    ATTACHED(await history.sql()),
    [arrayText(options.sources)],
    parts.options.statementTimeoutMs,
    'feed: replay',
  );
  for (const row of attached) {
    const { source = '', relation = '', version_column = '', key_sql = '' } = row as Record<string, string>;
    const { declared_sql: declared } = row as Record<string, string | null>;
    const texts = declared
      ? `, ${questionMarks(`pg_catalog.jsonb_build_array(${declared})`)}::pg_catalog.text AS texts`
      : '';
    const oldest = oldestOf(row, since.get(source) ?? []);
    if (oldest === undefined) {
      await options.onReset?.(source, NO_VERSION);
      continue;
    }
    await scan(
      parts,
      `SELECT source, key, ${plausible('version')}::pg_catalog.text AS version, 'd' AS op, ${over('version', '1000.0')} AS at FROM lockstep.tombstone t
       WHERE ${changedSince('t')} AND ${equal('source', '?::pg_catalog.text')}`,
      [oldest, source],
      handler,
      options,
    );
    const version = `t.${identifier(version_column)}`;
    await scan(
      parts,
      `SELECT ?::pg_catalog.text AS source, ${questionMarks(key_sql)} AS key, ${plausible(questionMarks(version))}::pg_catalog.text AS version, 'p' AS op,
       ${over(questionMarks(version), '1000.0')} AS at${texts} FROM ${questionMarks(relation)} t WHERE ${changedSince('t')}`,
      [source, oldest],
      handler,
      options,
    );
  }
}

/** The first transaction whose changes may be missing; `undefined`: the database can't tell what changed since. */
function oldestOf(row: Readonly<Record<string, unknown>>, positions: readonly string[]): string | undefined {
  const { incarnation, next, pruned } = row;
  const start = `${String(incarnation)}:`;
  if (positions.length === 0 || !positions.every((position) => position.startsWith(start))) return undefined;
  const transactions = positions.map((position) => Number(position.slice(start.length)));
  const oldest = Math.min(...transactions);
  if (!transactions.every(Number.isSafeInteger) || Number(next) - oldest > MAX_TRANSACTIONS) return undefined;
  return pruned !== null && Number(pruned) >= oldest ? undefined : String(oldest);
}

/** Reads through a server-side cursor, so that neither side holds more than a batch. */
async function scan(
  parts: FeedParts,
  sql: string,
  bindings: readonly string[],
  handler: Handler,
  options: FeedConsumeOptions,
): Promise<void> {
  const batchSize = options.batchSize ?? 500;
  const timeoutMs = Math.max(parts.options.statementTimeoutMs, FETCH_TIMEOUT_MS);
  const transaction = await FeedTransaction.begin(parts, {
    statementTimeoutMs: timeoutMs,
    signal: options.signal,
    readsTables: true,
  });
  try {
    await transaction.rows('replay', `DECLARE lockstep_replay NO SCROLL CURSOR FOR ${sql}`, bindings);
    for (;;) {
      options.signal.throwIfAborted();
      const rows = await transaction.rows<ChangeRecord>('replay', `FETCH ${batchSize} FROM lockstep_replay`);
      if (rows.length === 0) return;
      const changes = rows.map(toChange).filter((change) => change.key.length > 0);
      await handOver(parts, changes, handler, options, () => transaction.rows('replay', 'SELECT 1'));
    }
  } finally {
    await transaction.end();
  }
}

/** Rejections are told and tried again, a few times: the cursor can't be held for ever. */
async function handOver(
  { clock, options: { handlerTimeoutMs } }: FeedParts,
  changes: readonly Change[],
  handler: Handler,
  options: FeedConsumeOptions,
  keepAlive: () => PromiseLike<unknown>,
): Promise<void> {
  const backoff = new Backoff({ ...BETWEEN_TRIES, clock });
  for (let attempt = 1; ; attempt++) {
    try {
      return await feedDeadline(clock, 'the handler', handlerTimeoutMs).bound(handler(changes));
    } catch (error) {
      reportError(options, error);
      if (attempt === MAX_TRIES) throw error;
      await backoff.wait(options.signal);
      options.signal.throwIfAborted();
      await keepAlive();
    }
  }
}

/** knex reads question marks as bindings. */
function questionMarks(sql: string): string {
  return sql.replaceAll('?', '\\?');
}
