import { foreignEntry } from '../cache/client.js';
import type { InvalidateCommand, InvalidateReply } from '../contracts/cache-commands.js';
import type { Change } from '../contracts/feed.js';
import type { RecordedCollection } from '../contracts/registry.js';
import type { Relay, RelayOptions, RelayStatus } from '../contracts/relay.js';
import { NO_VERSION, type Version } from '../contracts/version.js';
import { CacheUnavailableError, InvalidOptionError, UnsupportedError } from '../errors.js';
import { Backoff } from '../kit/backoff.js';
import { type OptionsOf, option, withDefaults } from '../kit/options.js';
import { sleep } from '../kit/wait.js';
import type { Consumers } from '../runtime/consumers.js';
import type { EngineContext } from '../runtime/context.js';
import { TRACES, traced } from '../runtime/tracing.js';
import { watchAlterations } from './alterations.js';
import type { Consumer } from './consumer.js';
import { watchGeneration } from './generation.js';
import { invalidations, tells } from './invalidations.js';
import { resetCollections } from './reset.js';

/** The pause before a feed that has ended by itself is read again. */
const ENDED_MS = 1_000;

/** The lags that percentiles are told of. */
const LAGS = 10_000;

/** The changes of a batch that its event names. */
const SAMPLE = 8;

/** The feeds that a relay reads: those that are there, and those that come later. */
type RelayConsumers = Pick<Consumers, 'all' | 'onNext'>;

type RelayContext = Pick<
  EngineContext,
  'adapter' | 'buffers' | 'cache' | 'clock' | 'events' | 'handover' | 'nextToken' | 'queue'
>;

export const RELAY = {
  batchSize: option.integer(500, 1, 10_000),
  useQueue: option.flag(undefined),
} satisfies OptionsOf<RelayOptions>;

/**
 * Turns change feeds into invalidations: each batch in one pipelined call, for every collection that the store
 * records, whichever process declared it. What a part of the cache does not take goes to the queue; when all of
 * it is away the changes stay in the feed, which is the record.
 */
export function startRelay(consumers: RelayConsumers, context: RelayContext, options: RelayOptions): Relay {
  const { adapter, buffers, cache, clock, events, queue } = context;
  const { batchSize, useQueue = queue !== undefined } = withDefaults(options, RELAY, 'relay');
  if (useQueue && queue === undefined) throw new InvalidOptionError('relay.useQueue', 'there is no queue');
  if (consumers.all.length === 0) {
    throw new UnsupportedError('startRelay: no collection has a store with a change feed');
  }
  const ending = new AbortController();
  const lags = new LagWindow();
  const counts = { handled: 0, floored: 0, queued: 0 };

  async function handle(
    consumer: Consumer,
    changes: readonly Change[],
    replayed: boolean,
    isTraced = TRACES.relay.hasSubscribers,
  ): Promise<void> {
    if (isTraced) {
      const message = { feed: consumer.feed.name, changes: changes.length };
      return await traced('relay', message, () => handle(consumer, changes, replayed, false));
    }
    /** Lookups whose columns attach records no more: nothing says which of their pointers the changes concern. */
    const untold: RecordedCollection[] = [];
    const commands = [...Map.groupBy(changes, ({ source }) => source)].flatMap(([source, own]) => {
      const collections = consumer.collections(source);
      for (const each of collections) {
        const isTold = each.lookup === undefined || replayed || own.every((change) => tells(change, each));
        if (!isTold) untold.push(each);
      }
      return invalidations(own, collections, replayed);
    });
    if (untold.length > 0) await reset(untold, NO_VERSION);
    const replies = await cache.runMany(commands);
    noteSuperseded(consumer, commands, replies);
    const queued = await handOver(commands, replies);
    const floored = replies.filter(isFloored).length;
    // Replayed changes were dealt with before: their age says nothing of the relay.
    const lagMs = replayed ? 0 : noteLags(changes);
    counts.handled += changes.length;
    counts.floored += floored;
    counts.queued += queued;
    const feed = consumer.feed.name;
    if (!events.relay.wanted) return;
    const sample = changes.slice(0, SAMPLE).map(({ key, source }) => ({ source, key }));
    events.relay.emit({ feed, changes: changes.length, floored, queued, lagMs, sample });
  }

  /** A newer write of somebody else's: the store will refuse the buffered one. */
  function noteSuperseded(
    consumer: Consumer,
    commands: readonly InvalidateCommand[],
    replies: readonly (InvalidateReply | Error)[],
  ): void {
    for (const [i, reply] of replies.entries()) {
      if (reply instanceof Error || reply.superseded === undefined) continue;
      const { key, version: by } = commands[i] as InvalidateCommand;
      const collections = consumer.sources().flatMap((source) => consumer.collections(source));
      const found = collections.find(({ keyPrefix }) => key.startsWith(keyPrefix));
      if (found === undefined) continue;
      const written = { key: key.slice(found.keyPrefix.length), version: reply.superseded };
      events.flush.emit({ collection: found.name, ...written, outcome: 'superseded', by });
    }
  }

  /** How many the queue has taken. Throws, so that the feed keeps the batch, unless it has taken every one. */
  async function handOver(
    commands: readonly InvalidateCommand[],
    replies: readonly (InvalidateReply | Error)[],
  ): Promise<number> {
    const failed = commands.filter((_, i) => replies[i] instanceof Error);
    const foreign = commands.filter((_, i) => isForeign(replies[i]));
    const left = [...failed, ...foreign];
    if (left.length === 0) return 0;
    if (useQueue && failed.length < commands.length) {
      const offer = ({ key, version }: InvalidateCommand): Promise<boolean> =>
        context.handover.offer({ kind: 'invalidate', key, version });
      if ((await Promise.all(left.map(offer))).every(Boolean)) return left.length;
    }
    const [other] = foreign;
    if (failed.length === 0 && other !== undefined) throw foreignEntry(other.key);
    throw new CacheUnavailableError(
      `the cache did not take ${failed.length} of ${commands.length} invalidations`,
    );
  }

  function noteLags(changes: readonly Change[]): number {
    const now = clock.now();
    let largest = 0;
    for (const { changedAtMs } of changes) {
      const lagMs = Math.max(0, now - changedAtMs);
      lags.add(lagMs);
      if (lagMs > largest) largest = lagMs;
    }
    return largest;
  }

  /**
   * The feed can't name what is gone: everything of the source that the cache holds below the version goes.
   * Without a version it keeps its own as a floor, so that a row that did not change can be cached again as it is.
   */
  async function reset(collections: readonly RecordedCollection[], version: Version): Promise<number> {
    const floored = await resetCollections(cache, collections, version, batchSize);
    counts.floored += floored;
    return floored;
  }

  const { signal } = ending;
  const onError = (error: unknown): void => events.error.emit({ where: 'relay', error });

  function consumeOptions(consumer: Consumer) {
    const onReset = async (source: string, version: Version): Promise<void> => {
      await reset(consumer.collections(source), version);
    };
    const columns = (source: string): string[] => consumer.columns(source);
    return { batchSize, columns, onError, onReset };
  }

  /** Reads one feed; anew whenever there are other sources, or one that was refused is taken. */
  async function consume(consumer: Consumer): Promise<void> {
    while (!signal.aborted) {
      const sources = consumer.sources();
      const over = new AbortController();
      const stop = consumer.onChange(() => {
        if (consumer.sources().some((source) => !sources.includes(source))) over.abort();
      });
      const reading = AbortSignal.any([signal, over.signal]);
      const recorded = await recordAll(consumer, sources, reading);
      const others = sources.filter((source) => !recorded.includes(source));
      const retrying = retryRefused(consumer, others, reading).then((taken) => taken && over.abort());
      if (recorded.length > 0 && !reading.aborted) {
        const how = { ...consumeOptions(consumer), signal: reading, sources: recorded, claimant: consumer };
        await consumer.feed.consume((changes) => handle(consumer, changes, false), how).catch(onError);
      }
      // A feed that ends by itself was closed, or fails at once.
      await sleep(clock, ENDED_MS, reading);
      over.abort();
      await retrying;
      stop();
    }
  }

  /** Why tables are not read, by feed and source: somebody has to change an option. */
  const refused = new Map<string, string>();

  /**
   * Records the collections of these sources: nothing may be claimed for those that the store does not know. Answers the
   * sources that were not refused.
   */
  async function recordAll(consumer: Consumer, sources: readonly string[], until: AbortSignal) {
    const backoff = new Backoff({ clock, firstMs: 50, lastMs: 1_000, jitter: 0 });
    while (!until.aborted) {
      try {
        const recorded: string[] = [];
        for (const source of sources) if (await isTaken(consumer, source)) recorded.push(source);
        return recorded;
      } catch (error) {
        onError(error);
        await backoff.wait(until);
      }
    }
    return [];
  }

  /** False where the source's collections are refused, which is told once: it stands until somebody changes an option. */
  async function isTaken(consumer: Consumer, source: string): Promise<boolean> {
    const id = `${consumer.feed.name} ${source}`;
    try {
      await consumer.open(source);
      refused.delete(id);
      return true;
    } catch (error) {
      if (!(error instanceof InvalidOptionError)) throw error;
      if (refused.get(id) !== error.message) onError(error);
      refused.set(id, error.message);
      return false;
    }
  }

  /** Resolves with true once one of these sources is taken. */
  async function retryRefused(consumer: Consumer, sources: readonly string[], until: AbortSignal) {
    if (sources.length === 0) return false;
    while (!until.aborted) {
      await sleep(clock, ENDED_MS, until);
      if ((await recordAll(consumer, sources, until)).length > 0) return true;
    }
    return false;
  }

  /** Keeps what is known of the registry recent, and has replayed what the cache may lack. */
  async function watch(consumer: Consumer): Promise<void> {
    // A cache of this process alone ends with what it has acknowledged.
    if (!adapter.shared) return;
    const replay = (since: ReadonlyMap<string, readonly string[]>, sources: readonly string[]) => {
      const how = { ...consumeOptions(consumer), signal, sources };
      return consumer.feed.replay(since, (changes) => handle(consumer, changes, true), how);
    };
    await watchGeneration({ ...context, consumer, replay }, signal);
  }

  const running = new Set<Promise<unknown>>();
  const begin = (consumer: Consumer): void => {
    const resetAll = (of: readonly RecordedCollection[]): Promise<number> => reset(of, NO_VERSION);
    const altered = watchAlterations({ clock, consumer, events, reset: resetAll }, signal);
    running.add(Promise.all([consume(consumer), watch(consumer).catch(onError), altered]));
  };
  for (const consumer of consumers.all) begin(consumer);
  const stopListening = consumers.onNext(begin);
  const sweeping = buffers.all.map((buffer) => buffer.sweep(signal));

  return {
    status(): RelayStatus {
      const problems = refused.size === 0 ? {} : { refused: [...refused.values()] };
      return { running: !signal.aborted, ...problems, ...counts, lagMs: lags.summary() };
    },
    async stop(): Promise<void> {
      stopListening();
      ending.abort();
      await Promise.all([...running, ...sweeping]);
    },
  };
}

function isForeign(reply: InvalidateReply | Error | undefined): boolean {
  return !(reply instanceof Error) && reply?.outcome === 'foreign';
}

function isFloored(reply: InvalidateReply | Error): boolean {
  return !(reply instanceof Error) && reply.outcome === 'floored';
}

/** The last lags, for percentiles. */
class LagWindow {
  readonly #lags = new Float64Array(LAGS);
  #count = 0;
  #max = 0;

  add(lagMs: number): void {
    this.#lags[this.#count % LAGS] = lagMs;
    this.#count++;
    if (lagMs > this.#max) this.#max = lagMs;
  }

  /** In ms; `max` since the start, the percentiles over the window. */
  summary(): RelayStatus['lagMs'] {
    const sorted = this.#lags.slice(0, Math.min(this.#count, LAGS)).sort();
    const at = (share: number): number => sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0;
    return { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: this.#max };
  }
}
