import type { CacheAdapter, CacheInfo, CacheProbe, NoticeBoard, UnflushedIndex } from '../contracts/cache.js';
import type { CacheCommand, CacheHead, CacheHit, CacheReply } from '../contracts/cache-commands.js';
import { CacheUnavailableError } from '../errors.js';
import type { FaultPlan } from './plan.js';

/** The calls of a cache that can fail. */
export type CacheCalls = {
  readonly read: {
    readonly input: readonly string[];
    readonly output: readonly (CacheHit | undefined | Error)[];
  };
  readonly execute: {
    readonly input: readonly CacheCommand[];
    readonly output: readonly (CacheReply | Error)[];
  };
  readonly info: { readonly input: undefined; readonly output: CacheInfo };
  /** `input` is the prefix. */
  readonly probe: { readonly input: string; readonly output: ReadonlyMap<string, CacheProbe | Error> };
  /** `input` is the prefix. */
  readonly kept: { readonly input: string; readonly output: ReadonlyMap<string, number | Error> };
  /** The start of a scan; `input` is the prefix. */
  readonly scan: { readonly input: string; readonly output: undefined };
  readonly heads: {
    readonly input: readonly string[];
    readonly output: readonly (CacheHead | undefined | Error)[];
  };
  /** A ping of a watch over changes. */
  readonly ping: { readonly input: undefined; readonly output: undefined };
  /** A call of the index of unflushed keys; `input` says which. */
  readonly index: { readonly input: keyof UnflushedIndex; readonly output: unknown };
  /** A call of the notices of processes; `input` says which. */
  readonly notices: { readonly input: keyof NoticeBoard; readonly output: unknown };
};

const refusal = (message: string): Error => new CacheUnavailableError(message);

/** The cache with the plan's faults at its boundary; they are `CacheUnavailableError`s unless told otherwise. */
export function faultyCache(cache: CacheAdapter, plan: FaultPlan<CacheCalls>): CacheAdapter {
  const { notices, readHeads, unflushed, watchChanges } = cache;
  const run = <Op extends keyof CacheCalls>(
    op: Op,
    input: CacheCalls[Op]['input'],
    effect: () => Promise<CacheCalls[Op]['output']>,
  ): Promise<CacheCalls[Op]['output']> => plan.run(op, { input, effect, refusal });
  /** A part of the cache whose calls are one to the plan; `input` says which. */
  const part = async <Op extends 'index' | 'notices', T>(
    op: Op,
    input: CacheCalls[Op]['input'],
    effect: () => Promise<T>,
  ): Promise<T> => (await run(op, input, effect)) as T;
  return {
    name: cache.name,
    shared: cache.shared,
    local: cache.local,
    open: async () => cache.open?.(),
    read: (keys, encoding) => run('read', keys, () => cache.read(keys, encoding)),
    execute: (commands) => run('execute', commands, () => cache.execute(commands)),
    info: () => run('info', undefined, () => cache.info()),
    probe: (prefix) => run('probe', prefix, () => cache.probe(prefix)),
    kept: (prefix) => run('kept', prefix, () => cache.kept(prefix)),
    ...(cache.primaryOf && { primaryOf: cache.primaryOf.bind(cache) }),
    ...(cache.inspect && { inspect: cache.inspect.bind(cache) }),
    async *scan(prefix, encoding) {
      await run('scan', prefix, async () => undefined);
      yield* cache.scan(prefix, encoding);
    },
    ...(readHeads && { readHeads: (keys) => run('heads', keys, () => readHeads.call(cache, keys)) }),
    ...(watchChanges && {
      watchChanges(prefix, listener) {
        const watch = watchChanges.call(cache, prefix, listener);
        return {
          add: (added) => watch.add(added),
          ping: () => run('ping', undefined, async () => void (await watch.ping())),
          close: () => watch.close(),
        };
      },
    }),
    ...(unflushed && {
      unflushed: {
        durable: unflushed.durable,
        add: (...call) => part('index', 'add', () => unflushed.add(...call)),
        list: (...call) => part('index', 'list', () => unflushed.list(...call)),
        remove: (...call) => part('index', 'remove', () => unflushed.remove(...call)),
        size: (...call) => part('index', 'size', () => unflushed.size(...call)),
      },
    }),
    ...(notices && {
      notices: {
        post: (...call) => part('notices', 'post', () => notices.post(...call)),
        list: (...call) => part('notices', 'list', () => notices.list(...call)),
        remove: (...call) => part('notices', 'remove', () => notices.remove(...call)),
      },
    }),
    close: () => cache.close(),
  };
}
