import { randomUUID } from 'node:crypto';
import {
  type Change,
  type ChangeFeed,
  ClosedError,
  type FeedConsumeOptions,
  InvalidOptionError,
  systemClock,
} from '@lockstep/core';
import { Backoff, option, optionValue, sleep } from '@lockstep/core/kit';
import type { Db } from 'mongodb';
import type { SourceRecords } from '../install/records.js';
import { serverNowMs } from '../install/server.js';
import type { FeedSettings } from '../options.js';
import type { Binding } from '../rows/binding.js';
import type { TombstoneDocument } from '../rows/tombstones.js';
import { Acknowledged } from './acknowledged.js';
import { Claims } from './claims.js';
import { type Delivery, deliver, type Handler, untilDone } from './deliver.js';
import { Leader } from './leader.js';
import type { Positions } from './positions.js';
import type { Registry } from './registry.js';
import { aboveAll, changedSince, highestOf } from './rescan.js';
import { feedStatus } from './status.js';
import { withTexts } from './texts.js';

const BATCH_SIZE = option.integer(500, 1, 100_000);

/**
 * A row's version is of the time of its statement, and shows when its transaction commits: a replay reaches back
 * further by what a server lets a transaction live, many times over (60 s unless it is configured).
 */
const OPEN_MS = 15 * 60_000;

const AFTER_FAILURES = { firstMs: 50, lastMs: 250 };

export interface FeedContext {
  readonly db: Db;
  readonly name: string;
  /** All collections of the store, by source; grows. */
  readonly bindings: ReadonlyMap<string, Binding>;
  readonly tombstones: string;
  readonly settings: FeedSettings;
  readonly positions: Positions;
  readonly records: SourceRecords;
  readonly registry: Registry;
  readonly tombstoneTtlMs: number;
}

/**
 * The change feed of one database: a change stream with a saved resume token. Of all consumers of the
 * same sources, in whatever process, one reads; the others wait to take over.
 */
export function mongoFeed(context: FeedContext): ChangeFeed {
  const { db, name, bindings, tombstones, settings, positions, records, registry, tombstoneTtlMs } = context;
  const acknowledged = new Acknowledged();
  let closed = new AbortController();

  function deliveryOf(handler: Handler, options: FeedConsumeOptions): Delivery {
    if (closed.signal.aborted) throw new ClosedError(`the change feed ${name} is closed`);
    if (!Array.isArray(options.sources) || options.sources.length === 0) {
      throw new InvalidOptionError('feed.sources', 'must name at least one source');
    }
    return {
      handler,
      batchSize: optionValue(options.batchSize, BATCH_SIZE, 'feed.batchSize'),
      signal: AbortSignal.any([options.signal, closed.signal]),
      onReset: options.onReset,
      columns: options.columns ?? (() => []),
      onError(error) {
        try {
          options.onError?.(error);
        } catch {
          // A listener's own failure must not end the feed.
        }
      },
    };
  }

  function bound(sources: readonly string[]): Map<string, Binding> {
    return new Map([...bindings].filter(([source]) => sources.includes(source)));
  }

  return {
    name,
    registry,
    alterations: {
      async check(_, sources) {
        const detached = await records.detached([...bound(sources).values()]);
        return detached.map((source) => ({ source, kind: 'detached', state: '' }));
      },
      async dealtWith() {},
    },
    async consume(handler, options) {
      const delivery = deliveryOf(handler, options);
      const { signal } = delivery;
      const ours = bound(options.sources);
      const claims = new Claims(options.claimant, registry, delivery);
      if (ours.size === 0) {
        await sleep(systemClock, 2 ** 31 - 1, signal);
        return;
      }
      const { claimant } = options;
      const consumer = claimant?.consumer;
      const owner = randomUUID();
      const backoff = new Backoff(AFTER_FAILURES);
      // The first try may only have made the document that the lease is taken in.
      let waited = false;
      while (!signal.aborted) {
        try {
          const lease = await positions.acquire({ sources: [...ours.keys()], consumer }, owner);
          backoff.reset();
          if (lease === undefined) {
            await sleep(systemClock, waited ? settings.leaseMs / 4 : 0, signal);
            waited = true;
            continue;
          }
          const over = new AbortController();
          const end = (): void => over.abort();
          signal.addEventListener('abort', end, { once: true });
          if (signal.aborted) end();
          const leads = {
            db,
            bindings: ours,
            tombstones,
            settings,
            positions,
            records,
            acknowledged,
            claims,
          };
          try {
            await new Leader(leads, lease, delivery, over).run();
          } finally {
            signal.removeEventListener('abort', end);
          }
        } catch (error) {
          delivery.onError(error);
          await backoff.wait(signal);
        }
      }
    },
    acknowledge(changes, under) {
      for (const change of changes) if (bindings.has(change.source)) acknowledged.add(change, under);
    },
    async keptOf(source, key) {
      const found = await db
        .collection<TombstoneDocument>(tombstones)
        .findOne({ _id: { s: source, k: key } }, { maxTimeMS: 5_000 });
      // The changes themselves are in the server's log, which nobody may change.
      return {
        changes: [], // A Long, or the number that the client makes of one.
        tombstone: found?.v === undefined ? undefined : Number(String(found.v)),
      };
    },
    status: (sources) => feedStatus(db, bound(sources), positions),
    async replay(since, handler, options) {
      const delivery = deliveryOf(handler, options);
      const nowMs = await serverNowMs(db);
      for (const [source, binding] of bound(options.sources)) {
        const dealtMs = (since.get(source) ?? []).map(Number);
        const sinceMs = Math.min(...dealtMs) - OPEN_MS;
        // Without a position (one that can't be is none), or where tombstones since then are gone.
        const told = dealtMs.length > 0 && dealtMs.every((atMs) => atMs <= nowMs);
        if (!told || sinceMs <= nowMs - tombstoneTtlMs) {
          const version = aboveAll(await highestOf(binding), nowMs);
          if (!(await untilDone(async () => delivery.onReset?.(source, version), delivery))) return;
          continue;
        }
        for await (const changes of changedSince(binding, sinceMs, delivery.batchSize)) {
          let told: readonly Change[] = changes;
          const telling = async (): Promise<void> => {
            told = await withTexts(binding, changes, delivery.columns(source));
          };
          if (!(await untilDone(telling, delivery)) || !(await deliver(told, delivery))) return;
        }
      }
    },
    async close() {
      closed.abort();
    },
    reopen() {
      if (closed.signal.aborted) closed = new AbortController();
    },
  };
}
