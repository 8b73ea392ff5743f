import type {
  CacheAdapter,
  CacheInfo,
  CacheProbe,
  ChangeWatch,
  NoticeBoard,
  UnflushedIndex,
} from '../contracts/cache.js';
import type {
  CacheCommand,
  CacheHead,
  CacheHit,
  CacheReply,
  PayloadEncoding,
} from '../contracts/cache-commands.js';
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
  const { notices, unflushed } = cache;
  return {
    name: cache.name,
    shared: cache.shared,
    local: cache.local,
    open: async () => cache.open?.(),
    read: (keys: readonly string[], encoding: PayloadEncoding) =>
      plan.run('read', { input: keys, effect: () => cache.read(keys, encoding), refusal }),
    execute: (commands: readonly CacheCommand[]) =>
      plan.run('execute', { input: commands, effect: () => cache.execute(commands), refusal }),
    info: () => plan.run('info', { input: undefined, effect: () => cache.info(), refusal }),
    probe: (prefix: string) =>
      plan.run('probe', { input: prefix, effect: () => cache.probe(prefix), refusal }),
    kept: (prefix: string) => plan.run('kept', { input: prefix, effect: () => cache.kept(prefix), refusal }),
    ...(cache.primaryOf === undefined ? {} : { primaryOf: cache.primaryOf.bind(cache) }),
    ...(cache.inspect === undefined ? {} : { inspect: cache.inspect.bind(cache) }),
    async *scan(...call: Parameters<CacheAdapter['scan']>) {
      await plan.run('scan', { input: call[0], effect: async () => undefined, refusal });
      yield* cache.scan(...call);
    },
    ...(cache.readHeads === undefined
      ? {}
      : {
          readHeads: (keys: readonly string[]) =>
            plan.run('heads', {
              input: keys,
              effect: async () => (await cache.readHeads?.(keys)) ?? [],
              refusal,
            }),
        }),
    ...(cache.watchChanges === undefined ? {} : { watchChanges: watchOf(cache, plan) }),
    ...(unflushed === undefined ? {} : { unflushed: faultyIndex(unflushed, plan) }),
    ...(notices === undefined ? {} : { notices: faultyNotices(notices, plan) }),
    close: () => cache.close(),
  };
}

function faultyNotices(notices: NoticeBoard, plan: FaultPlan<CacheCalls>): NoticeBoard {
  const run = async <T>(input: keyof NoticeBoard, effect: () => Promise<T>): Promise<T> =>
    (await plan.run('notices', { input, effect, refusal })) as T;
  return {
    post: (...call) => run('post', () => notices.post(...call)),
    list: (...call) => run('list', () => notices.list(...call)),
    remove: (...call) => run('remove', () => notices.remove(...call)),
  };
}

function watchOf(
  cache: CacheAdapter,
  plan: FaultPlan<CacheCalls>,
): NonNullable<CacheAdapter['watchChanges']> {
  return (prefix, listener) => {
    const watch = cache.watchChanges?.(prefix, listener) as ChangeWatch;
    const effect = (): Promise<undefined> => watch.ping().then(() => undefined);
    return {
      add: (added) => watch.add(added),
      ping: () => plan.run('ping', { input: undefined, effect, refusal }),
      close: () => watch.close(),
    };
  };
}

function faultyIndex(index: UnflushedIndex, plan: FaultPlan<CacheCalls>): UnflushedIndex {
  const run = async <T>(input: keyof UnflushedIndex, effect: () => Promise<T>): Promise<T> =>
    (await plan.run('index', { input, effect, refusal })) as T;
  return {
    durable: index.durable,
    add: (...call) => run('add', () => index.add(...call)),
    list: (...call) => run('list', () => index.list(...call)),
    remove: (...call) => run('remove', () => index.remove(...call)),
    size: (...call) => run('size', () => index.size(...call)),
  };
}
