import type { Change, FeedConsumeOptions } from '@lockstep/core';
import { identifier } from '../sql/quote.js';
import { toChange } from '../transactions.js';
import { arrayText } from '../wire/arrays.js';
import { bounded, type ConsumeParts, type Handler, reportError } from './consume.js';

const MAX_TRIES = 8;

interface Found {
  readonly source: string;
  readonly key: string;
  readonly version: string;
  readonly op: string;
  readonly at: number;
}

/**
 * Every change since a moment, from what the database still knows: rows carry the version of their
 * last put, tombstones those of deletes. Handled outbox rows are not needed for it, so none are kept.
 */
export async function replay(
  parts: ConsumeParts,
  sinceMs: number,
  handler: Handler,
  options: FeedConsumeOptions,
): Promise<void> {
  const since = String(Math.max(0, Math.floor(sinceMs * 1000)));
  const sources = arrayText(options.sources);
  const attached = await bounded(
    parts,
    parts.knex.raw<{ rows: { source: string; relation: string; version_column: string; key_sql: string }[] }>(
      'SELECT source, relation, version_column, key_sql FROM lockstep.attached WHERE source = ANY (?::text[])',
      [sources],
    ),
    parts.options.statementTimeoutMs,
    'replay',
  );
  await scan(
    parts,
    `SELECT source, key, version::text AS version, 'd' AS op, version / 1000.0 AS at FROM lockstep.tombstone
     WHERE version >= ?::int8 AND source = ANY (?::text[])`,
    [since, sources],
    handler,
    options,
  );
  for (const { source, relation, version_column, key_sql } of attached.rows) {
    const version = `t.${identifier(version_column)}`;
    await scan(
      parts,
      `SELECT ?::text AS source, ${questionMarks(key_sql)} AS key, ${questionMarks(version)}::text AS version, 'p' AS op,
       ${questionMarks(version)} / 1000.0 AS at FROM ${questionMarks(relation)} t WHERE ${questionMarks(version)} >= ?::int8`,
      [source, since],
      handler,
      options,
    );
  }
}

/** Reads through a server-side cursor, so that neither side holds more than a batch. */
async function scan(
  parts: ConsumeParts,
  sql: string,
  bindings: readonly string[],
  handler: Handler,
  options: FeedConsumeOptions,
): Promise<void> {
  const { knex } = parts;
  const { handlerTimeoutMs, statementTimeoutMs } = parts.options;
  const batchSize = options.batchSize ?? 500;
  await knex.transaction(async (trx) => {
    // Looking for the next match may pass over most of a table.
    await trx.raw(
      "SELECT pg_catalog.set_config('statement_timeout', ?, true), pg_catalog.set_config('idle_in_transaction_session_timeout', ?, true)",
      [String(Math.max(statementTimeoutMs, 600_000)), String(handlerTimeoutMs + statementTimeoutMs)],
    );
    await trx.raw(`DECLARE lockstep_replay NO SCROLL CURSOR FOR ${sql}`, bindings);
    for (;;) {
      options.signal.throwIfAborted();
      const { rows } = await trx.raw<{ rows: Found[] }>(`FETCH ${batchSize} FROM lockstep_replay`);
      if (rows.length === 0) return;
      const changes = rows.map(toChange).filter((change) => change.key.length > 0);
      await handOver(parts, changes, handler, options, () => trx.raw('SELECT 1'));
    }
  });
}

/** Rejections are told and tried again, a few times: the cursor can't be held for ever. */
async function handOver(
  parts: ConsumeParts,
  changes: readonly Change[],
  handler: Handler,
  options: FeedConsumeOptions,
  keepAlive: () => PromiseLike<unknown>,
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await bounded(parts, handler(changes), parts.options.handlerTimeoutMs, 'the handler');
    } catch (error) {
      reportError(options, error);
      if (attempt === MAX_TRIES) throw error;
      const { promise, resolve } = Promise.withResolvers<void>();
      parts.clock.schedule(resolve, Math.min(5000, 50 * 2 ** attempt));
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
