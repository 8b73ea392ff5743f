import { describe, expect, test } from 'vitest';
import type { CacheAdapter, ScannedEntry } from '../../src/contracts/cache.js';
import type { CacheCommand } from '../../src/contracts/cache-commands.js';
import type { Change } from '../../src/contracts/feed.js';
import { CacheUnavailableError, QueueUnavailableError, StoreUnavailableError } from '../../src/errors.js';
import {
  after,
  applyLate,
  before,
  type CacheCalls,
  delay,
  duplicate,
  faultPlan,
  faultyCache,
  faultyQueue,
  faultyStore,
  hang,
  loseCommand,
  loseReply,
  manualClock,
  type QueueCalls,
  refuse,
  reorder,
  type StoreCalls,
} from '../../src/faults/index.js';
import { memoryCache, memoryQueue, memoryStore } from '../../src/memory/index.js';

const LONG_MS = 60_000;

function put(key: string, version: number): CacheCommand {
  return {
    kind: 'put',
    key,
    token: undefined,
    version,
    payload: `v${version}`,
    ttlMs: LONG_MS,
    staleAtMs: 0,
    holeTtlMs: LONG_MS,
  };
}

function cacheSetup() {
  const clock = manualClock();
  const inner = memoryCache();
  const plan = faultPlan<CacheCalls>({ clock });
  const cache = faultyCache(inner, plan);
  /** What the cache knows of the key, past the faults. */
  async function known(key = 'k'): Promise<number> {
    const [reply] = await inner.execute([{ kind: 'reserve', key, token: 'probe', holeTtlMs: LONG_MS }]);
    return reply !== undefined && !(reply instanceof Error) && reply.kind === 'reserved' ? reply.known : -1;
  }
  return { clock, inner, plan, cache, known };
}

async function scanned(cache: CacheAdapter): Promise<ScannedEntry[]> {
  const entries: ScannedEntry[] = [];
  for await (const entry of cache.scan('', 'utf8')) entries.push(entry);
  return entries;
}

describe('what each fault does to a call', () => {
  test('refuse: no effect, the adapter’s error', async () => {
    const { plan, cache, known } = cacheSetup();
    plan.next('execute', refuse());
    await expect(cache.execute([put('k', 10)])).rejects.toBeInstanceOf(CacheUnavailableError);
    expect(await known()).toBe(0);
  });

  test('refuse and the losses: an error of the test’s own', async () => {
    const { plan, cache } = cacheSetup();
    const own = new Error('own');
    for (const fault of [refuse(own), loseCommand(own), loseReply(own), applyLate(own)]) {
      plan.next('execute', fault);
      await expect(cache.execute([put('k', 10)])).rejects.toBe(own);
    }
  });

  test('loseCommand: no effect; loseReply: the effect, and an error all the same', async () => {
    const { plan, cache, known } = cacheSetup();
    plan.next('execute', loseCommand());
    await expect(cache.execute([put('k', 10)])).rejects.toBeInstanceOf(CacheUnavailableError);
    expect(await known()).toBe(0);
    plan.next('execute', loseReply());
    await expect(cache.execute([put('k', 10)])).rejects.toBeInstanceOf(CacheUnavailableError);
    expect(await known()).toBe(10);
  });

  test('hang: neither answer nor effect until it is released', async () => {
    const { plan, cache, known } = cacheSetup();
    const fault = hang();
    plan.next('execute', fault);
    const call = cache.execute([put('k', 10)]);
    await fault.reached;
    expect(await known()).toBe(0);
    fault.release();
    expect(await call).toEqual([{ kind: 'put', outcome: 'floored' }]);
  });

  test('hang: a store ends its calls in their time all the same', async () => {
    const clock = manualClock();
    const plan = faultPlan<StoreCalls>({ clock });
    const store = faultyStore(memoryStore<string>({ name: 'rows', clock }), plan);
    plan.always('read', hang());
    plan.always('write', hang());
    const late = { code: 'LOCKSTEP_STORE_TIMEOUT' };
    const put = { kind: 'put', key: 'a', value: 'x', above: 0 } as const;
    const calls = Promise.all([
      expect(store.read(['a'], { timeoutMs: 50, primary: true })).rejects.toMatchObject(late),
      expect(store.write([put], { timeoutMs: 50 })).rejects.toMatchObject(late),
    ]);
    clock.advance(50);
    await calls;
    expect(clock.pending).toBe(0);
  });

  test('delay: the effect comes when the clock says so', async () => {
    const { clock, plan, cache, known } = cacheSetup();
    plan.next('execute', delay(500));
    const call = cache.execute([put('k', 10)]);
    clock.advance(499);
    expect(await known()).toBe(0);
    clock.advance(1);
    await call;
    expect(await known()).toBe(10);
  });

  test('applyLate: an error at once, the effect at the release', async () => {
    const { plan, cache, known } = cacheSetup();
    const fault = applyLate();
    plan.next('execute', fault);
    await expect(cache.execute([put('k', 10)])).rejects.toBeInstanceOf(CacheUnavailableError);
    expect(await known()).toBe(0);
    fault.release();
    await plan.settled();
    expect(await known()).toBe(10);
  });

  test('duplicate: the effect twice, the first or the second reply', async () => {
    const { plan, cache } = cacheSetup();
    const lease: CacheCommand = {
      kind: 'lease',
      key: 'k',
      token: 't',
      leaseMs: LONG_MS,
      holeTtlMs: LONG_MS,
      encoding: 'utf8',
    };
    const fill: CacheCommand = {
      kind: 'fill',
      key: 'k',
      token: 't',
      version: 10,
      payload: 'x',
      ttlMs: LONG_MS,
      staleAtMs: 0,
    };
    await cache.execute([lease]);
    plan.next('execute', duplicate());
    expect(await cache.execute([fill])).toEqual([{ kind: 'fill', outcome: 'filled' }]);
    await cache.execute([{ ...lease, key: 'other' }]);
    plan.next('execute', duplicate('second'));
    expect(await cache.execute([{ ...fill, key: 'other' }])).toEqual([{ kind: 'fill', outcome: 'lost' }]);
  });

  test('reorder: calls take effect last first, each with its own reply', async () => {
    const { plan, cache } = cacheSetup();
    await cache.execute([{ kind: 'reserve', key: 'k', token: 't', holeTtlMs: LONG_MS }]);
    await cache.execute([{ ...put('k', 2), token: 't' } as CacheCommand]);
    plan.next('execute', reorder(3), { times: 3 });
    const calls = [10, 20, 30].map((version) => cache.execute([put('k', version)]));
    expect(await Promise.all(calls)).toEqual([
      [{ kind: 'put', outcome: 'superseded' }],
      [{ kind: 'put', outcome: 'superseded' }],
      [{ kind: 'put', outcome: 'stored' }],
    ]);
  });

  test('reorder: released early, what is held goes on and later calls pass', async () => {
    const { plan, cache } = cacheSetup();
    const fault = reorder(5);
    plan.next('execute', fault, { times: 5 });
    const call = cache.execute([put('k', 10)]);
    await fault.reached;
    fault.release();
    await call;
    await cache.execute([put('k', 12)]);
  });

  test('before and after: an eviction on either side of the effect', async () => {
    const { inner, plan, cache, known } = cacheSetup();
    await cache.execute([put('k', 10)]);
    plan.next(
      'execute',
      before(() => inner.evict('k')),
    );
    await cache.execute([
      { kind: 'invalidate', key: 'k', version: 20, holeTtlMs: LONG_MS, holeOnEmpty: false },
    ]);
    expect(await known()).toBe(0);
    plan.next(
      'execute',
      after(() => inner.evict('k')),
    );
    await cache.execute([put('k', 10)]);
    expect(await known()).toBe(0);
  });
});

describe('which calls a plan touches', () => {
  test('next: one call, or as many as told, in the order given, before what always says', async () => {
    const { plan, cache } = cacheSetup();
    const [always, once, twice] = [new Error('always'), new Error('once'), new Error('twice')];
    plan.always('read', refuse(always));
    plan.next('read', refuse(once));
    plan.next('read', refuse(twice), { times: 2 });
    for (const expected of [once, twice, twice, always, always]) {
      await expect(cache.read(['k'], 'utf8')).rejects.toBe(expected);
    }
    expect(plan.calls('read')).toBe(5);
    expect(plan.calls('execute')).toBe(0);
  });

  test('when: only calls whose input passes', async () => {
    const { plan, cache } = cacheSetup();
    plan.next('execute', refuse(), { when: (commands) => commands.some(({ kind }) => kind === 'put') });
    await cache.execute([{ kind: 'release', key: 'k', token: 't' }]);
    await expect(cache.execute([put('k', 10)])).rejects.toBeInstanceOf(CacheUnavailableError);
    await cache.execute([put('k', 10)]);
  });

  test('clear: of one name, or of all', async () => {
    const { plan, cache } = cacheSetup();
    plan.always('read', refuse());
    plan.next('execute', refuse());
    plan.clear('read');
    await cache.read(['k'], 'utf8');
    await expect(cache.execute([])).rejects.toBeInstanceOf(CacheUnavailableError);
    plan.always('info', refuse());
    plan.always('scan', refuse());
    await expect(cache.info()).rejects.toBeInstanceOf(CacheUnavailableError);
    await expect(scanned(cache)).rejects.toBeInstanceOf(CacheUnavailableError);
    plan.clear();
    await cache.info();
    expect(await scanned(cache)).toEqual([]);
  });

  test('pauseNext: a barrier before the effect, or after it', async () => {
    const { plan, cache, known } = cacheSetup();
    for (const [at, version, seen] of [
      ['before', 10, 0],
      ['after', 20, 20],
    ] as const) {
      const gate = plan.pauseNext('execute', { at });
      const call = cache.execute([put('k', version)]);
      await gate.reached;
      expect(await known()).toBe(seen);
      gate.release();
      await call;
    }
  });

  test('a fault may be any function of the call', async () => {
    const { plan, cache } = cacheSetup();
    plan.next('execute', async (call) =>
      (await call.proceed()).map(() => new CacheUnavailableError('this one')),
    );
    const [reply] = await cache.execute([put('k', 10)]);
    expect(reply).toBeInstanceOf(CacheUnavailableError);
  });
});

describe('stores and queues', () => {
  const call = { timeoutMs: 1_000 };

  test('a store’s refusal is not committed, a lost reply is unknown and committed', async () => {
    const inner = memoryStore<{ n: number }>({ name: 'rows' });
    const plan = faultPlan<StoreCalls>();
    const store = faultyStore(inner, plan);
    const command = { kind: 'put', key: 'a', value: { n: 1 }, above: 0 } as const;
    plan.next('write', refuse());
    const refused = await store.write([command], call).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(StoreUnavailableError);
    expect(refused).toMatchObject({ outcome: 'not-committed' });
    expect(inner.keys()).toEqual([]);
    plan.next('write', loseReply());
    expect(await store.write([command], call).catch((error: unknown) => error)).toMatchObject({
      outcome: 'unknown',
    });
    expect(inner.keys()).toEqual(['a']);
    plan.next('read', refuse());
    await expect(store.read(['a'], { ...call, primary: true })).rejects.toBeInstanceOf(StoreUnavailableError);
    await store.close();
  });

  test('a transaction whose commit’s reply is lost is committed', async () => {
    const inner = memoryStore<{ n: number }>({ name: 'rows' });
    const plan = faultPlan<StoreCalls>();
    const store = faultyStore(inner, plan);
    plan.next('transaction', loseReply());
    const lost = store.transactions?.transaction(
      (tx) => store.write([{ kind: 'put', key: 'a', value: { n: 1 }, above: 0 }], { ...call, tx }),
      call,
    );
    await expect(lost).rejects.toMatchObject({ outcome: 'unknown' });
    expect(inner.keys()).toEqual(['a']);
    await store.close();
  });

  test('wrapped bindings of one database share one host and one feed', () => {
    const plan = faultPlan<StoreCalls>();
    const inner = memoryStore<{ n: number }>({ name: 'rows' });
    const [one, other] = [faultyStore(inner, plan), faultyStore(inner, plan)];
    expect(one.transactions).toBe(other.transactions);
    expect(one.feed).toBe(other.feed);
    expect(one.feed).not.toBe(inner.feed);
  });

  test('a delivery that is refused comes again, one that is doubled comes twice', async () => {
    const clock = manualClock();
    const inner = memoryStore<{ n: number }>({ name: 'rows', clock });
    const plan = faultPlan<StoreCalls>();
    const store = faultyStore(inner, plan);
    const taken: Change[] = [];
    const abort = new AbortController();
    plan.next('deliver', refuse());
    plan.next('deliver', duplicate());
    const twice = Promise.withResolvers<void>();
    const done = store.feed?.consume(
      async (changes) => {
        taken.push(...changes);
        if (taken.length === 2) twice.resolve();
      },
      { sources: ['rows'], signal: abort.signal, onError: () => setImmediate(() => clock.advance(10)) },
    );
    await inner.foreignWrite('a', { n: 1 });
    await twice.promise;
    abort.abort();
    await done;
    expect(taken.map(({ key }) => key)).toEqual(['a', 'a']);
    await store.close();
  });

  test('a lost acknowledgement leaves the change to the feed', async () => {
    const inner = memoryStore<{ n: number }>({ name: 'rows' });
    const plan = faultPlan<StoreCalls>();
    const store = faultyStore(inner, plan);
    const [outcome] = await store.write([{ kind: 'put', key: 'a', value: { n: 1 }, above: 0 }], call);
    const change = { source: 'rows', key: 'a', version: outcome?.kind === 'written' ? outcome.version : 0 };
    plan.next('acknowledge', loseCommand());
    store.feed?.acknowledge([change]);
    expect((await store.feed?.status(['rows']))?.pending).toBe(1);
    store.feed?.acknowledge([change]);
    expect((await store.feed?.status(['rows']))?.pending).toBe(0);
    await store.close();
  });

  test('a queue’s enqueue fails, and so do its handlers', async () => {
    const inner = memoryQueue({ backoffMs: 0 });
    const plan = faultPlan<QueueCalls>();
    const queue = faultyQueue(inner, plan);
    const job = { kind: 'invalidate', key: 'k', version: 10 } as const;
    plan.next('enqueue', refuse());
    await expect(queue.enqueue([job])).rejects.toBeInstanceOf(QueueUnavailableError);
    plan.next('enqueue', loseReply());
    await expect(queue.enqueue([job])).rejects.toBeInstanceOf(QueueUnavailableError);
    expect((await queue.status()).waiting).toBe(1);
    plan.next('handle', refuse());
    const handled = Promise.withResolvers<void>();
    const errors: unknown[] = [];
    await queue.consume(async () => handled.resolve(), { onError: (error) => errors.push(error) });
    await handled.promise;
    expect(errors).toHaveLength(1);
    await queue.close();
  });
});
