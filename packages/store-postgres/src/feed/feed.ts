import {
  type Alterations,
  type Change,
  type ChangeFeed,
  type Clock,
  ClosedError,
  type ConsumerRegistry,
  type ConsumerState,
  type FeedConsumeOptions,
  type FeedStatus,
  type KeptOfRow,
} from '@lockstep/core';
import { option, optionValue } from '@lockstep/core/kit';
import type { Knex } from 'knex';
import { insecureTables } from '../attach/guard.js';
import { isMissingTable, storeError } from '../errors.js';
import type { Run } from '../sql/catalog.js';
import { arrayText } from '../wire/arrays.js';
import type { Session } from '../wire/session.js';
import { Acknowledger } from './acknowledge.js';
import { CatalogueWatch } from './catalogue.js';
import { consume, type Handler } from './consume.js';
import { History } from './history.js';
import { keptOf } from './kept.js';
import { Listener } from './listener.js';
import type { ResolvedFeedOptions } from './options.js';
import type { FeedParts } from './parts.js';
import { PostgresRegistry } from './registry.js';
import { replay } from './replay.js';
import type { RecordedChange } from './shared-rows.js';

const BATCH_SIZE = option.integer(500, 1, 100_000);

/** Counting stops at so many rows: a backlog's exact length is not worth a scan of it. */
const STATUS_CAP = 100_000;

// Before a consumer's first record nothing of the source was in its cache.
const STATUS = `SELECT coalesce(sum(coalesce(pg_catalog.cardinality(keys), 1)), 0)::int AS pending,
coalesce(greatest(0, pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - min(changed_at)) * 1000), 0) AS oldest
FROM (SELECT changed_at, keys FROM lockstep.outbox
WHERE source = ANY ($1::text[]) AND ($3 = '' OR ((done IS NULL OR $3 <> ALL (done)) AND changed_at >= coalesce((SELECT c.since FROM lockstep.consumer c WHERE c.source = outbox.source AND c.consumer = $3), 'infinity')))
AND (version % 4 = 0 OR changed_at <= pg_catalog.clock_timestamp() - $2::float8 * interval '1 millisecond')
ORDER BY version, id LIMIT ${STATUS_CAP}) AS o`;

export interface PostgresFeedParts {
  readonly name: string;
  readonly knex: Knex;
  readonly session: Session;
  readonly clock: Clock;
  readonly options: ResolvedFeedOptions;
  readonly prepared: boolean;
}

/** The outbox as a feed. `status` counts up to 100,000 rows, without those that their writers still have. */
export class PostgresFeed implements ChangeFeed {
  readonly name: string;
  readonly registry: ConsumerRegistry;
  readonly alterations: Alterations;
  readonly #parts: FeedParts;
  readonly #history: History;
  readonly #acknowledger: Acknowledger;
  #closing = new AbortController();
  readonly #running = new Set<Promise<void>>();

  constructor({ name, knex, session, clock, options, prepared }: PostgresFeedParts) {
    this.name = name;
    const listener = options.listen ? new Listener(knex, clock, options.statementTimeoutMs) : undefined;
    this.#parts = { knex, session, clock, options, listener };
    this.#history = new History(session, options.statementTimeoutMs);
    this.registry = new PostgresRegistry(this.#parts, this.#history);
    this.alterations = new CatalogueWatch(this.#parts);
    this.#acknowledger = new Acknowledger(session, clock, options, prepared);
  }

  consume(handler: Handler, options: FeedConsumeOptions): Promise<void> {
    return this.#run((checked) => consume(this.#parts, handler, checked), options);
  }

  acknowledge(changes: readonly Pick<Change, 'source' | 'key' | 'version'>[], under?: ConsumerState): void {
    if (!this.#closing.signal.aborted) this.#acknowledger.add(changes, under);
  }

  /** Told of changes that one row of the outbox records: it goes once all of them are acknowledged. */
  recordedTogether(source: string, changes: readonly RecordedChange[]): void {
    this.#acknowledger.recordedTogether(source, changes);
  }

  async status(sources: readonly string[], consumer = ''): Promise<FeedStatus> {
    const { session, options } = this.#parts;
    try {
      const values = [arrayText(sources), String(options.graceMs), consumer];
      const [row] = await session.rows(STATUS, values, options.statementTimeoutMs, 'feed: status');
      const run: Run = (sql, parameters = []) =>
        session.rows(sql, parameters, options.statementTimeoutMs, 'feed: status');
      const warnings = await insecureTables(run, sources);
      return {
        pending: Number(row?.['pending'] ?? 0),
        oldestMs: Number(row?.['oldest'] ?? 0),
        ...(warnings.length > 0 && { warnings }),
      };
    } catch (error) {
      if (isMissingTable(error)) return { pending: 0, oldestMs: 0 };
      throw storeError(error, this.name, false);
    }
  }

  async keptOf(source: string, key: string): Promise<KeptOfRow> {
    const { options, session } = this.#parts;
    try {
      return await keptOf(session, source, key, options.statementTimeoutMs);
    } catch (error) {
      if (isMissingTable(error)) return { changes: [], tombstone: undefined };
      throw storeError(error, this.name, false);
    }
  }

  replay(
    since: ReadonlyMap<string, readonly string[]>,
    handler: Handler,
    options: FeedConsumeOptions,
  ): Promise<void> {
    return this.#run((checked) => replay(this.#parts, this.#history, since, handler, checked), options);
  }

  async close(): Promise<void> {
    this.#closing.abort(new ClosedError(`${this.name} is closed`));
    const running = [...this.#running];
    await this.#acknowledger.flush();
    await Promise.allSettled(running);
  }

  reopen(): void {
    if (this.#closing.signal.aborted) this.#closing = new AbortController();
  }

  async #run(
    work: (options: FeedConsumeOptions) => Promise<void>,
    options: FeedConsumeOptions,
  ): Promise<void> {
    if (this.#closing.signal.aborted) throw new ClosedError(`${this.name} is closed`);
    optionValue(options.batchSize, BATCH_SIZE, 'feed.batchSize');
    const signal = AbortSignal.any([options.signal, this.#closing.signal]);
    const running = work({ ...options, signal });
    this.#running.add(running);
    try {
      await running;
    } finally {
      this.#running.delete(running);
    }
  }
}
