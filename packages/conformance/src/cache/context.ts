import type {
  CacheAdapter,
  CacheCommand,
  CacheHit,
  CacheReply,
  FillReply,
  InvalidateReply,
  LeaseReply,
  Payload,
  PayloadEncoding,
  PutReply,
  RefreshReply,
  ReplyOf,
  Version,
} from '@lockstep/core';
import { expectEqual, expectThat } from '../kit/expect.js';
import { type Waits, waits } from '../kit/runner.js';
import { unique } from '../kit/unique.js';
import type { CacheConformanceOptions, CacheUnderTest } from './under-test.js';

/** Long enough never to pass within a case, in ms. */
export const LONG_MS = 3_600_000;

/** One command and its bare reply; rejects when the reply is an `Error`. */
export async function run<C extends CacheCommand>(cache: CacheAdapter, command: C): Promise<ReplyOf<C>> {
  const [reply] = await runAll(cache, [command]);
  return reply as ReplyOf<C>;
}

/** Many commands in one call; rejects when one of the replies is an `Error`. */
export async function runAll(cache: CacheAdapter, commands: readonly CacheCommand[]): Promise<CacheReply[]> {
  const replies = await cache.execute(commands);
  expectEqual(replies.length, commands.length, 'the number of replies to execute()');
  return replies.map((reply) => {
    if (reply instanceof Error) throw reply;
    return reply;
  });
}

/** The tools of a case: one adapter, keys and tokens of its own, and each command in short form. */
export interface CacheContext extends Waits {
  readonly underTest: CacheUnderTest;
  readonly cache: CacheAdapter;
  /** The start of every key, without the colon behind it. */
  readonly keyStart: string;
  key(): string;
  token(): string;
  /** An even version half a day ahead of the cache's clock, in µs: believed, and reached by no clock meanwhile. */
  ahead(): Promise<Version>;
  hit(key: string, encoding?: PayloadEncoding): Promise<CacheHit | undefined>;
  reserve(key: string, token: string): Promise<Version>;
  intend(key: string, token: string, deadlineMs?: number): Promise<Version>;
  put(key: string, version: Version, token?: string, payload?: Payload | null): Promise<PutReply['outcome']>;
  refresh(key: string, version: Version, payload?: Payload): Promise<RefreshReply['outcome']>;
  invalidate(key: string, version: Version, holeOnEmpty?: boolean): Promise<InvalidateReply['outcome']>;
  lease(key: string, token: string, leaseMs?: number): Promise<LeaseReply>;
  fill(key: string, token: string, version: Version, payload?: Payload | null): Promise<FillReply>;
  /** True when the lease was the token's. */
  release(key: string, token: string): Promise<boolean>;
  /** Makes the entry a value at this version. */
  setValue(key: string, version: Version, payload?: Payload | null): Promise<void>;
  /** The tag's token. */
  tag(key: string, token: string): Promise<string | undefined>;
  /** Makes the entry a hole with this floor, without lease and tokens. */
  setHole(key: string, floor: Version): Promise<void>;
  /** Fails unless readers get this version (and payload). */
  expectHit(key: string, version: Version, payload?: Payload | null): Promise<void>;
  /** Fails unless readers have to load. */
  expectMiss(key: string): Promise<void>;
  /** Fails unless the entry is fillable by nobody below `floor`, and by a reader at it. Fills it. */
  expectFloor(key: string, floor: Version): Promise<void>;
  dispose(): Promise<void>;
}

/** The payload that cases use where it does not matter. */
export function payloadOf(version: Version): string {
  return `{"v":${version}}`;
}

export async function cacheContext(options: CacheConformanceOptions): Promise<CacheContext> {
  const underTest = await options.create();
  const { cache } = underTest;
  const start = options.keyPrefix ?? 'wtc:conformance';
  const key = (): string => `${start}:${unique('k')}`;
  const token = (): string => unique('t');
  const holeTtlMs = LONG_MS;
  const ttlMs = LONG_MS;
  const context: CacheContext = {
    ...waits(options.deadlineMs ?? 30_000, underTest.advance?.bind(underTest)),
    underTest,
    cache,
    keyStart: start,
    key,
    token,
    async ahead() {
      const [probe] = (await cache.probe(`${start}:`)).values();
      if (probe === undefined || probe instanceof Error) throw probe ?? new Error('no primary was asked');
      return 2 * Math.trunc((probe.nowMs + 12 * LONG_MS) * 500);
    },
    async hit(key, encoding = 'utf8') {
      const hits = await cache.read([key], encoding);
      expectEqual(hits.length, 1, 'the number of answers to read() of one key');
      const [hit] = hits;
      if (hit instanceof Error) throw hit;
      return hit;
    },
    reserve: async (key, token) => (await run(cache, { kind: 'reserve', key, token, holeTtlMs })).known,
    intend: async (key, token, deadlineMs = LONG_MS) =>
      (await run(cache, { kind: 'intend', key, token, deadlineMs, holeTtlMs })).known,
    async put(key, version, token, payload = payloadOf(version)) {
      const reply = await run(cache, {
        kind: 'put',
        key,
        token,
        version,
        payload,
        ttlMs,
        staleAtMs: 0,
        holeTtlMs,
      });
      return reply.outcome;
    },
    refresh: async (key, version, payload = payloadOf(version)) =>
      (await run(cache, { kind: 'refresh', key, version, payload, ttlMs, staleAtMs: 0 })).outcome,
    invalidate: async (key, version, holeOnEmpty = false) =>
      (await run(cache, { kind: 'invalidate', key, version, holeTtlMs, holeOnEmpty })).outcome,
    lease: (key, token, leaseMs = LONG_MS) =>
      run(cache, { kind: 'lease', key, token, leaseMs, holeTtlMs, encoding: 'utf8' }),
    fill: (key, token, version, payload = payloadOf(version)) =>
      run(cache, { kind: 'fill', key, token, version, payload, ttlMs, staleAtMs: 0 }),
    async release(key, token) {
      const { held, kind } = await run(cache, { kind: 'release', key, token });
      expectEqual(kind, 'release', 'the kind of the reply to release');
      return held;
    },
    async tag(key, token) {
      const reply = await run(cache, { kind: 'tag', key, token, ttlMs });
      expectEqual(reply.kind, 'tag', 'the kind of the reply to tag');
      return reply.token;
    },
    async setValue(key, version, payload = payloadOf(version)) {
      const own = token();
      await context.reserve(key, own);
      expectEqual(await context.put(key, version, own, payload), 'stored', 'a reserved put on an empty key');
    },
    async setHole(key, floor) {
      expectEqual(await context.put(key, floor), 'floored', 'a put on an empty key');
    },
    async expectHit(key, version, payload = payloadOf(version)) {
      const hit = await context.hit(key);
      expectThat(hit !== undefined, `a reader must hit version ${version}, but misses`);
      expectEqual({ version: hit.version, payload: hit.payload }, { version, payload }, 'what a reader hits');
    },
    async expectMiss(key) {
      expectEqual(await context.hit(key), undefined, 'what a reader of a hole or an empty key gets');
    },
    async expectFloor(key, floor) {
      const own = token();
      expectEqual(
        await context.lease(key, own),
        { kind: 'lease', outcome: 'granted', floor },
        'a lease on the hole',
      );
      if (floor > 1) {
        expectEqual(
          await context.fill(key, own, floor - 1),
          { kind: 'fill', outcome: 'below-floor', floor },
          `a fill below the floor ${floor}`,
        );
        await context.expectMiss(key);
      }
      const version = Math.max(floor, 1);
      expectEqual(
        await context.fill(key, own, version),
        { kind: 'fill', outcome: 'filled' },
        'a fill at the floor',
      );
      await context.expectHit(key, version);
    },
    async dispose() {
      try {
        await cache.close();
        await underTest.second?.close();
      } finally {
        await underTest.dispose?.();
      }
    },
  };
  return context;
}

/** Registers one case of the kit. */
export type CacheCase = (name: string, body: (context: CacheContext) => Promise<void>) => void;
