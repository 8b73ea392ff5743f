import type { Change, FeedConsumeOptions } from '@lockstep/core';
import { atLeast, isIn, over } from '../sql/operators.js';
import { identifier } from '../sql/quote.js';
import { type ChangeRecord, toChange } from '../transactions.js';
import { arrayText } from '../wire/arrays.js';
import { bounded } from '../wire/bounded.js';
import { type Handler, reportError } from './consume.js';
import type { FeedParts } from './parts.js';
import { tooLong } from './too-long.js';
import { FeedTransaction } from './transaction.js';

const MAX_TRIES = 8;

/** Looking for the next match may pass over most of a table. */
const FETCH_TIMEOUT_MS = 600_000;

/**
 * Every change since a moment, from what the database still knows: rows carry the version of their
 * last put, tombstones those of deletes. Handled outbox rows are not needed for it, so none are kept.
 */
export async function replay(
  parts: FeedParts,
  sinceMs: number,
  handler: Handler,
  options: FeedConsumeOptions,
): Promise<void> {
  const since = String(Math.max(0, Math.floor(sinceMs * 1000)));
  const sources = arrayText(options.sources);
  const attached = await parts.session.rows(
    'SELECT source, relation, version_column, key_sql FROM lockstep.attached WHERE source = ANY ($1::text[])',
    [sources],
    parts.options.statementTimeoutMs,
    'feed: replay',
  );
  await scan(
    parts,
    `SELECT source, key, version::pg_catalog.text AS version, 'd' AS op, ${over('version', '1000.0')} AS at FROM lockstep.tombstone
     WHERE ${atLeast('version', '?::pg_catalog.int8')} AND ${isIn('source', '?::pg_catalog.text[]')}`,
    [since, sources],
    handler,
    options,
  );
  for (const row of attached) {
    const { source = '', relation = '', version_column = '', key_sql = '' } = row as Record<string, string>;
    const version = `t.${identifier(version_column)}`;
    await scan(
      parts,
      `SELECT ?::pg_catalog.text AS source, ${questionMarks(key_sql)} AS key, ${questionMarks(version)}::pg_catalog.text AS version, 'p' AS op,
       ${over(questionMarks(version), '1000.0')} AS at FROM ${questionMarks(relation)} t WHERE ${atLeast(questionMarks(version), '?::pg_catalog.int8')}`,
      [source, since],
      handler,
      options,
    );
  }
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
  for (let attempt = 1; ; attempt++) {
    try {
      const message = tooLong('the handler', handlerTimeoutMs);
      return await bounded({ clock }, handler(changes), handlerTimeoutMs, message);
    } catch (error) {
      reportError(options, error);
      if (attempt === MAX_TRIES) throw error;
      const { promise, resolve } = Promise.withResolvers<void>();
      clock.schedule(resolve, Math.min(5000, 50 * 2 ** attempt));
      await promise;
      options.signal.throwIfAborted();
      await keepAlive();
    }
  }
}

/** knex reads question marks as bindings. */
function questionMarks(sql: string): string {
  return sql.replaceAll('?', '\\?');
}
