import type { BufferedWrites } from '../buffer/buffers.js';
import { type CacheClient, foreignEntry } from '../cache/client.js';
import type { Relay, RelayStatus } from '../contracts/api.js';
import type { CacheReply, InvalidateCommand } from '../contracts/cache-commands.js';
import type { Clock } from '../contracts/clock.js';
import type { Change } from '../contracts/feed.js';
import type { RelayOptions } from '../contracts/options.js';
import type { RecordedCollection } from '../contracts/registry.js';
import { NO_VERSION, type Version } from '../contracts/version.js';
import { CacheUnavailableError, InvalidOptionError, UnsupportedError } from '../errors.js';
import { type OptionsOf, option, withDefaults } from '../kit/options.js';
import { sleep } from '../kit/wait.js';
import type { EventHub } from '../runtime/events.js';
import type { Consumer } from './consumer.js';
import { GenerationWatch } from './generation.js';
import type { Handover } from './handover.js';
import { LagWindow } from './lag-window.js';

/** The feeds that a relay reads: those that are there, and those that come later. */
export interface RelayConsumers {
  readonly all: readonly Consumer[];
  onNext(listener: (consumer: Consumer) => void): () => void;
}

export interface RelayContext {
  readonly cache: CacheClient;
  readonly handover: Handover;
  readonly hasQueue: boolean;
  readonly events: EventHub;
  readonly clock: Clock;
  /** Of a cache that may lose acknowledged writes. */
  readonly watched: { readonly nextToken: () => string } | undefined;
  /** Of the collections whose writes may be buffered. */
  readonly buffers: readonly Pick<BufferedWrites, 'sweep'>[];
}

export const RELAY = {
  batchSize: option.integer(500, 1, 10_000),
  useQueue: option.flag(undefined),
} satisfies OptionsOf<RelayOptions>;

const FIRST_PAUSE_MS = 50;
const LAST_PAUSE_MS = 1_000;

/**
 * Turns change feeds into invalidations: each batch in one pipelined call, for every collection that the store
 * records, whichever process declared it. What a part of the cache does not take goes to the queue; when all of
 * it is away the changes stay in the feed, which is the record.
 */
export function startRelay(consumers: RelayConsumers, context: RelayContext, options: RelayOptions): Relay {
  const { batchSize, useQueue = context.hasQueue } = withDefaults(options, RELAY, 'relay');
  if (useQueue && !context.hasQueue) throw new InvalidOptionError('relay.useQueue', 'there is no queue');
  if (consumers.all.length === 0) {
    throw new UnsupportedError('startRelay: no collection has a store with a change feed');
  }
  const ending = new AbortController();
  const lags = new LagWindow();
  const counts = { handled: 0, floored: 0, queued: 0 };

  async function handle(consumer: Consumer, changes: readonly Change[], replayed: boolean): Promise<void> {
    const commands = commandsFor(consumer, changes);
    const replies = await context.cache.runMany(commands);
    noteSuperseded(consumer, commands, replies);
    const failed = commands.filter((_, i) => replies[i] instanceof Error);
    const foreign = commands.filter((_, i) => isForeign(replies[i]));
    if (failed.length + foreign.length > 0) await handOver(failed, foreign, commands.length);
    // What is replayed was dealt with before: its age says nothing of the relay.
    const lagMs = replayed ? 0 : noteLags(changes);
    const floored = replies.filter(isFloored).length;
    counts.handled += changes.length;
    counts.floored += floored;
    counts.queued += failed.length + foreign.length;
    const { relay } = context.events;
    if (relay.wanted) {
      relay.emit({
        feed: consumer.feed.name,
        changes: changes.length,
        floored,
        queued: failed.length + foreign.length,
        lagMs,
      });
    }
  }

  /** A newer write of somebody else's: the store will refuse the buffered one. */
  function noteSuperseded(
    consumer: Consumer,
    commands: readonly InvalidateCommand[],
    replies: readonly (CacheReply | Error)[],
  ): void {
    replies.forEach((reply, i) => {
      if (reply instanceof Error || reply.kind !== 'invalidate' || reply.superseded === undefined) return;
      const { key, version: by } = commands[i] as InvalidateCommand;
      const found = consumer
        .sources()
        .flatMap((source) => consumer.collections(source))
        .find(({ keyPrefix }) => key.startsWith(keyPrefix));
      if (found === undefined) return;
      const { name: collection, keyPrefix } = found;
      const version = reply.superseded;
      context.events.flush.emit({
        collection,
        key: key.slice(keyPrefix.length),
        version,
        outcome: 'superseded',
        by,
      });
    });
  }

  /** Throws, so that the feed keeps the batch, unless the queue has taken every one. */
  async function handOver(
    failed: readonly InvalidateCommand[],
    foreign: readonly InvalidateCommand[],
    total: number,
  ): Promise<void> {
    const partly = failed.length < total;
    if (partly && useQueue) {
      const jobs = [...failed, ...foreign].map(
        ({ key, version }) => ({ kind: 'invalidate', key, version }) as const,
      );
      const taken = await Promise.all(jobs.map((job) => context.handover.offer(job)));
      if (taken.every(Boolean)) return;
    }
    const [other] = foreign;
    if (failed.length === 0 && other !== undefined) throw foreignEntry(other.key);
    throw new CacheUnavailableError(`the cache did not take ${failed.length} of ${total} invalidations`);
  }

  function noteLags(changes: readonly Change[]): number {
    const now = context.clock.now();
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
  async function reset(consumer: Consumer, source: string, version: Version): Promise<void> {
    for (const collection of consumer.collections(source)) {
      let keys: string[] = [];
      for await (const { key, unflushed, version: held } of context.cache.scan(
        collection.keyPrefix,
        'utf8',
      )) {
        // A buffered write is not in the store yet, and is judged there.
        if ((version === NO_VERSION || held < version) && unflushed !== true) keys.push(key);
        if (keys.length < batchSize) continue;
        await floor(collection, keys, version);
        keys = [];
      }
      await floor(collection, keys, version);
    }
  }

  async function floor(
    { holeOnEmpty, holeTtlMs }: RecordedCollection,
    keys: readonly string[],
    version: Version,
  ): Promise<void> {
    const shared = { kind: 'invalidate', version, holeOnEmpty, holeTtlMs } as const;
    const replies = await context.cache.runMany(keys.map((key) => ({ ...shared, key })));
    const failed = replies.find((reply) => reply instanceof Error);
    if (failed !== undefined) throw failed;
    counts.floored += replies.filter(isFloored).length;
  }

  const onError = (error: unknown): void => context.events.error.emit({ where: 'relay', error });

  /** Reads one feed; anew whenever there are other sources. */
  async function consume(consumer: Consumer): Promise<void> {
    const handler = (changes: readonly Change[]): Promise<void> => handle(consumer, changes, false);
    const onReset = (source: string, version: Version): Promise<void> => reset(consumer, source, version);
    while (!ending.signal.aborted) {
      const sources = consumer.sources();
      const over = new AbortController();
      const stop = consumer.onChange(() => {
        if (consumer.sources().some((source) => !sources.includes(source))) over.abort();
      });
      const signal = AbortSignal.any([ending.signal, over.signal]);
      await recordAll(consumer, sources, signal);
      const consumeOptions = { signal, sources, batchSize, onError, onReset, claimant: consumer };
      if (!signal.aborted) await consumer.feed.consume(handler, consumeOptions).catch(onError);
      stop();
    }
  }

  /** Nothing may be claimed for collections that the store does not know. */
  async function recordAll(
    consumer: Consumer,
    sources: readonly string[],
    signal: AbortSignal,
  ): Promise<void> {
    for (let pauseMs = FIRST_PAUSE_MS; !signal.aborted; pauseMs = Math.min(pauseMs * 2, LAST_PAUSE_MS)) {
      try {
        for (const source of sources) await consumer.open(source);
        return;
      } catch (error) {
        onError(error);
        await sleep(context.clock, pauseMs, signal);
      }
    }
  }

  /** Keeps what is known of the registry recent, and has replayed what the cache may lack. */
  async function watch(consumer: Consumer): Promise<void> {
    const { signal } = ending;
    const { cache, watched } = context;
    if (watched === undefined) return;
    const handler = (changes: readonly Change[]): Promise<void> => handle(consumer, changes, true);
    const onReset = (source: string, version: Version): Promise<void> => reset(consumer, source, version);
    await new GenerationWatch({ consumer, cache, clock, events, ...watched }).run(signal, (since, sources) =>
      consumer.feed.replay(since, handler, { signal, sources, batchSize, onError, onReset }),
    );
  }

  const { clock, events } = context;
  const running = new Set<Promise<unknown>>();
  const begin = (consumer: Consumer): void => {
    running.add(Promise.all([consume(consumer), watch(consumer).catch(onError)]));
  };
  for (const consumer of consumers.all) begin(consumer);
  const stopListening = consumers.onNext(begin);
  const sweeping = context.buffers.map((buffer) => buffer.sweep(ending.signal));

  return {
    status(): RelayStatus {
      return { running: !ending.signal.aborted, ...counts, lagMs: lags.summary() };
    },
    async stop(): Promise<void> {
      stopListening();
      ending.abort();
      await Promise.all([...running, ...sweeping]);
    },
  };
}

function commandsFor(consumer: Consumer, changes: readonly Change[]): InvalidateCommand[] {
  const commands: InvalidateCommand[] = [];
  const bySource = new Map<string, readonly RecordedCollection[]>();
  for (const { source, key, version } of changes) {
    const collections = bySource.get(source) ?? consumer.collections(source);
    bySource.set(source, collections);
    for (const { holeOnEmpty, holeTtlMs, keyPrefix } of collections) {
      commands.push({ kind: 'invalidate', key: keyPrefix + key, version, holeTtlMs, holeOnEmpty });
    }
  }
  return commands;
}

function isForeign(reply: CacheReply | Error | undefined): boolean {
  return !(reply instanceof Error) && reply?.kind === 'invalidate' && reply.outcome === 'foreign';
}

function isFloored(reply: CacheReply | Error): boolean {
  return !(reply instanceof Error) && reply.kind === 'invalidate' && reply.outcome === 'floored';
}
