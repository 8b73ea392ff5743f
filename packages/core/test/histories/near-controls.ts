import { vi } from 'vitest';
import type { CacheAdapter, ChangeWatch } from '../../src/contracts/cache.js';
import type { Clock } from '../../src/contracts/clock.js';
import { sleep } from '../../src/kit/wait.js';
import { KeyChanges, NotedTags } from '../../src/near/changes.js';
import { NearEntries } from '../../src/near/entries.js';
import { NearWatch } from '../../src/near/watch.js';
import { restoring } from './grouped-world.js';
import type { NearWorldOptions } from './near-world.js';

/** A ping is answered at once, ahead of the changes that were made before it. */
export function unordered(cache: CacheAdapter): CacheAdapter {
  return {
    ...cache,
    watchChanges(prefix, listener) {
      const watch = cache.watchChanges?.(prefix, listener) as ChangeWatch;
      return { add: () => undefined, ping: async () => undefined, close: () => watch.close() };
    },
  };
}

const REPLY_MS = 60;

/** No control: every other reply to a read is late, so that messages overtake it. */
export function lateReplies(): Required<Pick<NearWorldOptions, 'cacheOf' | 'cacheTimeoutMs' | 'onClock'>> {
  let clock: Clock | undefined;
  let reads = 0;
  return {
    cacheTimeoutMs: 5 * REPLY_MS,
    onClock: (given) => {
      clock = given;
    },
    cacheOf: (cache) => ({
      ...cache,
      async read(keys, encoding) {
        const found = await cache.read(keys, encoding);
        if (clock !== undefined && reads++ % 2 === 0) await sleep(clock, REPLY_MS);
        return found;
      },
    }),
  };
}

/** A ping proves what was told by its answer, not by its sending. */
export function countedAtAnswers(): Disposable & { readonly use: (clock: Clock) => void } {
  let clock: Clock | undefined;
  const ping = NearWatch.prototype.ping;
  const spy = vi.spyOn(NearWatch.prototype, 'ping').mockImplementation(function (this: NearWatch, nowMs) {
    let { provenAtMs } = this;
    Object.defineProperty(this, 'provenAtMs', {
      configurable: true,
      get: () => provenAtMs,
      set: (sentAtMs: number) => {
        provenAtMs = Number.isFinite(sentAtMs) ? (clock?.monotonic() ?? 0) : sentAtMs;
      },
    });
    ping.call(this, nowMs);
  });
  return {
    use: (given) => {
      clock = given;
    },
    [Symbol.dispose]: () => spy.mockRestore(),
  };
}

/** What a process does itself it learns of by the cache's messages alone. */
export function messagesAlone(): Disposable & { readonly cacheOf: (cache: CacheAdapter) => CacheAdapter } {
  let isMessage = false;
  const changed = NearWatch.prototype.changed;
  const spy = vi.spyOn(NearWatch.prototype, 'changed').mockImplementation(function (this: NearWatch, key) {
    if (isMessage) changed.call(this, key);
  });
  return {
    cacheOf: (cache) => ({
      ...cache,
      watchChanges: (prefix, listener) =>
        cache.watchChanges?.(prefix, {
          changed(key) {
            isMessage = true;
            listener.changed(key);
            isMessage = false;
          },
          lost: () => listener.lost(),
        }) as ChangeWatch,
    }),
    [Symbol.dispose]: () => spy.mockRestore(),
  };
}

/** What hangs on tags is held against their changes since it was stored, not since it was asked for. */
export function tagsNotedLate(): Disposable {
  const keysOf = new WeakMap<NotedTags, string[]>();
  const note = KeyChanges.prototype.note;
  const add = NotedTags.prototype.add;
  const store = NearEntries.prototype.store;
  let changes: KeyChanges | undefined;
  const noting = vi.spyOn(KeyChanges.prototype, 'note').mockImplementation(function (
    this: KeyChanges,
    ...noted
  ) {
    changes = this;
    note.call(this, ...noted);
  });
  const adding = vi.spyOn(NotedTags.prototype, 'add').mockImplementation(function (this: NotedTags, keys) {
    keysOf.set(this, [...(keysOf.get(this) ?? []), ...keys]);
    add.call(this, keys);
  });
  const storing = vi.spyOn(NearEntries.prototype, 'store').mockImplementation(function (
    this: NearEntries<unknown>,
    key,
    mark,
    ...found
  ) {
    const late = changes && new NotedTags(changes, []);
    if (late !== undefined && mark.tags !== undefined) add.call(late, keysOf.get(mark.tags) ?? []);
    store.call(this, key, { ...mark, tags: late }, ...found);
  });
  return restoring(noting, adding, storing);
}
