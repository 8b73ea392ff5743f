import { setTimeout as after } from 'node:timers/promises';
import type { Knex } from 'knex';
import { median } from '../bursts/turn.js';
import { type Fleet, infoOf, openFleet } from './servers.js';

export interface GrowthOptions {
  readonly minutes: number;
  /** Time between two samples, in ms. */
  readonly sampleMs: number;
  /** Calls of the application in a second. */
  readonly perSecond: number;
  readonly products: number;
}

export const GROWTH: GrowthOptions = { minutes: 60, sampleMs: 60_000, perSecond: 100, products: 10_000 };

/** What is held at one moment, in bytes or rows, by name. */
export type Held = Readonly<Record<string, number>>;

export interface GrowthResult {
  readonly settings: Readonly<Record<string, unknown>>;
  /** One for each sample, the first before the load. */
  readonly samples: readonly { readonly minute: number; readonly held: Held }[];
  /** By how much each figure grows in an hour: the median slope between any two samples of the second half. */
  readonly perHour: Held;
  readonly calls: number;
  /** Calls that were rejected: 0. */
  readonly failures: number;
  /** Processor time of both processes for each second, in ms. */
  readonly processorMs: { readonly application: number; readonly worker: number };
}

/** A steady, small load for an hour: an application of all kinds of calls, another program's updates, a worker. */
export async function runGrowth(
  { minutes, perSecond, products, sampleMs }: GrowthOptions,
  progress: (line: string) => void,
): Promise<GrowthResult> {
  const fleet = await openFleet({ perSecond, products });
  const ended = new AbortController();
  try {
    const worker = await fleet.start('worker');
    const application = await fleet.start('application');
    const foreign = updates(fleet.knex, products, ended.signal);
    const samples: { minute: number; held: Held }[] = [];
    const startedAt = performance.now();
    const count = Math.max(2, Math.round((minutes * 60_000) / sampleMs));
    for (let n = 0; n <= count; n++) {
      await after(Math.max(0, startedAt + n * sampleMs - performance.now()));
      const [ofApplication, ofWorker] = [await application.usage(), await worker.usage()];
      const held: Held = {
        'application: rss': ofApplication.rss,
        'application: heap': ofApplication.heap,
        'worker: rss': ofWorker.rss,
        'worker: heap': ofWorker.heap,
        ...(await heldByServers(fleet)),
      };
      samples.push({ minute: (n * sampleMs) / 60_000, held });
      progress(`${samples.at(-1)?.minute.toFixed(1)} min ${JSON.stringify(held)}`);
    }
    ended.abort();
    await foreign;
    const [{ calls, failures, processorUs }, ofWorker] = [await application.usage(), await worker.usage()];
    const ms = performance.now() - startedAt;
    return {
      settings: fleet.settings,
      samples,
      perHour: perHour(samples.slice(samples.length >> 1)),
      calls,
      failures,
      processorMs: { application: processorUs / ms, worker: ofWorker.processorUs / ms },
    };
  } finally {
    ended.abort();
    await fleet.close();
  }
}

/** One row a second, by another program. */
async function updates(knex: Knex, products: number, ended: AbortSignal): Promise<void> {
  for (let n = 0; !ended.aborted; n++) {
    await knex('products')
      .where({ id: String((n * 7_919) % products) })
      .increment('stock', 1);
    await after(1_000, undefined, { signal: ended }).catch(() => undefined);
  }
}

async function heldByServers({ knex, queue, redis }: Fleet): Promise<Held> {
  const { rows } = await knex.raw<{ rows: Record<string, string>[] }>(
    `SELECT (SELECT count(*) FROM lockstep.outbox) AS "outbox: rows",
      pg_total_relation_size('lockstep.outbox') AS "outbox: bytes",
      (SELECT count(*) FROM lockstep.tombstone) AS "tombstones: rows",
      pg_total_relation_size('lockstep.tombstone') AS "tombstones: bytes",
      pg_total_relation_size('products') AS "table: bytes"`,
  );
  return {
    ...Object.fromEntries(Object.entries(rows[0] ?? {}).map(([name, value]) => [name, Number(value)])),
    'cache: bytes': await infoOf(redis, 'used_memory'),
    'cache: keys': await redis.dbsize(),
    'queue: bytes': await infoOf(queue, 'used_memory'),
    'queue: keys': await queue.dbsize(),
  };
}

/** Theil and Sen's slope, which single outliers (a collection, a vacuum) do not move. */
function perHour(samples: GrowthResult['samples']): Held {
  return Object.fromEntries(
    Object.keys(samples[0]?.held ?? {}).map((name) => {
      const slopes = samples.flatMap((one, i) =>
        samples.slice(i + 1).map((other) => {
          const rise = (other.held[name] ?? Number.NaN) - (one.held[name] ?? Number.NaN);
          return (60 * rise) / (other.minute - one.minute);
        }),
      );
      return [name, median(slopes)];
    }),
  );
}
