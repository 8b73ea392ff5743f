import type { Relay, RelayOptions, RelayStatus } from '../contracts/api.js';
import type { CacheReply, InvalidateCommand } from '../contracts/cache.js';
import type { Clock } from '../contracts/clock.js';
import type { Change, ChangeFeed } from '../contracts/store.js';
import type { Version } from '../contracts/version.js';
import { CacheUnavailableError, InvalidOptionError } from '../errors.js';
import { checkKnown, numberOption } from '../options.js';
import { type Sweepable, sweepUnflushed } from './burst/sweeper.js';
import type { CacheClient } from './cache-client.js';
import type { EventHub } from './events.js';
import type { GenerationWatch } from './generation.js';
import type { Handover } from './handover.js';
import { LagWindow } from './lag-window.js';

/** A collection as the relay needs it. */
export interface RelayTarget {
  readonly collection: string;
  readonly source: string;
  readonly keyPrefix: string;
  readonly holeTtlMs: number;
  readonly holeOnEmpty: boolean;
  readonly feed: ChangeFeed;
}

export interface RelayContext {
  readonly cache: CacheClient;
  readonly handover: Handover;
  readonly hasQueue: boolean;
  readonly events: EventHub;
  readonly clock: Clock;
  /** Of a cache that may lose acknowledged writes: what notices, for a feed's collections. */
  readonly watch: ((collections: readonly string[]) => GenerationWatch) | undefined;
  /** Of the collections whose writes may be buffered. */
  readonly flushers: readonly Sweepable[];
}

/**
 * Turns change feeds into invalidations: each batch in one pipelined call. What a part of the cache does
 * not take goes to the queue; when all of it is away the changes stay in the feed, which is the record.
 */
export function startRelay(
  targets: readonly RelayTarget[],
  context: RelayContext,
  options: RelayOptions,
): Relay {
  checkKnown(options, ['batchSize', 'useQueue'], 'relay');
  const batchSize = numberOption(options.batchSize, 500, 'relay.batchSize', { min: 1, max: 10_000 });
  const useQueue = options.useQueue ?? context.hasQueue;
  if (useQueue && !context.hasQueue) throw new InvalidOptionError('relay.useQueue', 'there is no queue');
  const ending = new AbortController();
  const lags = new LagWindow();
  const counts = { handled: 0, floored: 0, queued: 0 };

  async function handle(feed: ChangeFeed, changes: readonly Change[], replayed: boolean): Promise<void> {
    const commands = commandsFor(targets, feed, changes);
    const replies = await context.cache.runMany(commands);
    noteSuperseded(commands, replies);
    const failed = commands.filter((_, i) => replies[i] instanceof Error);
    if (failed.length > 0) await handOver(failed, commands.length);
    // What is replayed was dealt with before: its age says nothing of the relay.
    const lagMs = replayed ? 0 : noteLags(changes);
    const floored = replies.filter(isFloored).length;
    counts.handled += changes.length;
    counts.floored += floored;
    counts.queued += failed.length;
    const { relay } = context.events;
    if (relay.wanted) {
      relay.emit({ feed: feed.name, changes: changes.length, floored, queued: failed.length, lagMs });
    }
  }

  /** A newer write of somebody else's: the store will refuse the buffered one. */
  function noteSuperseded(
    commands: readonly InvalidateCommand[],
    replies: readonly (CacheReply | Error)[],
  ): void {
    replies.forEach((reply, i) => {
      if (reply instanceof Error || reply.kind !== 'invalidate' || reply.superseded === undefined) return;
      const { key, version: by } = commands[i] as InvalidateCommand;
      const target = targets.find(({ keyPrefix }) => key.startsWith(keyPrefix));
      if (target === undefined) return;
      const { collection, keyPrefix } = target;
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
  async function handOver(failed: readonly InvalidateCommand[], total: number): Promise<void> {
    const partly = failed.length < total;
    if (partly && useQueue) {
      const jobs = failed.map(({ key, version }) => ({ kind: 'invalidate', key, version }) as const);
      const taken = await Promise.all(jobs.map((job) => context.handover.offer(job)));
      if (taken.every(Boolean)) return;
    }
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

  /** The feed can't name what is gone: everything of the source that the cache holds below the version goes. */
  async function reset(feed: ChangeFeed, source: string, version: Version): Promise<void> {
    for (const target of targets) {
      if (target.feed !== feed || target.source !== source) continue;
      let keys: string[] = [];
      for await (const { key, version: held } of context.cache.scan(target.keyPrefix, 'utf8')) {
        if (held < version) keys.push(key);
        if (keys.length < batchSize) continue;
        await floor(target, keys, version);
        keys = [];
      }
      await floor(target, keys, version);
    }
  }

  async function floor(target: RelayTarget, keys: readonly string[], version: Version): Promise<void> {
    const { holeOnEmpty, holeTtlMs } = target;
    const shared = { kind: 'invalidate', version, holeOnEmpty, holeTtlMs } as const;
    const replies = await context.cache.runMany(keys.map((key) => ({ ...shared, key })));
    const failed = replies.find((reply) => reply instanceof Error);
    if (failed !== undefined) throw failed;
    counts.floored += replies.filter(isFloored).length;
  }

  const onError = (error: unknown): void => context.events.error.emit({ where: 'relay', error });
  const feeds = [...new Set(targets.map(({ feed }) => feed))];
  const running = feeds.map((feed) => {
    const own = targets.filter((target) => target.feed === feed);
    const sources = [...new Set(own.map(({ source }) => source))];
    const onReset = (source: string, version: Version): Promise<void> => reset(feed, source, version);
    const consumeOptions = { signal: ending.signal, sources, batchSize, onError, onReset };
    const handler = (changes: readonly Change[]): Promise<void> => handle(feed, changes, false);
    const again = (changes: readonly Change[]): Promise<void> => handle(feed, changes, true);
    const consuming = feed.consume(handler, consumeOptions).catch(onError);
    const watching = context
      .watch?.(own.map(({ collection }) => collection))
      .run(ending.signal, (sinceMs) => feed.replay(sinceMs, again, consumeOptions))
      .catch(onError);
    return Promise.all([consuming, watching]);
  });
  const { clock, events } = context;
  const sweeping = context.flushers.map((flusher) =>
    sweepUnflushed(flusher, { clock, events, signal: ending.signal }),
  );

  return {
    status(): RelayStatus {
      return { running: !ending.signal.aborted, ...counts, lagMs: lags.summary() };
    },
    async stop(): Promise<void> {
      ending.abort();
      await Promise.all([...running, ...sweeping]);
    },
  };
}

function commandsFor(
  targets: readonly RelayTarget[],
  feed: ChangeFeed,
  changes: readonly Change[],
): InvalidateCommand[] {
  const commands: InvalidateCommand[] = [];
  for (const { source, key, version } of changes) {
    for (const target of targets) {
      if (target.feed !== feed || target.source !== source) continue;
      const { holeOnEmpty, holeTtlMs } = target;
      commands.push({ kind: 'invalidate', key: target.keyPrefix + key, version, holeTtlMs, holeOnEmpty });
    }
  }
  return commands;
}

function isFloored(reply: CacheReply | Error): boolean {
  return !(reply instanceof Error) && reply.kind === 'invalidate' && reply.outcome === 'floored';
}
