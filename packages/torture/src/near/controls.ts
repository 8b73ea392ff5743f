import type { CacheAdapter } from '@lockstep/core';
import type { Random } from '../random.js';
import type { ChannelBreak } from './breaker.js';

/** Rules of near entries, and what each run without one must find. */
export const NEAR_CONTROLS = {
  'lost-message': 'one message about a change in ten is lost, and nobody is told',
  'no-proof': 'a ping is answered at once, whatever became of the channel',
  'silent-break': 'a channel that breaks says nothing',
  'tags-untold': 'nobody is told of changes of tags',
} as const;
export type NearControl = keyof typeof NEAR_CONTROLS;

/** The breaks that a rule stands against, and no others: those keep entries from being near, and what is out from being found. */
export function breaksWithout(control: NearControl): readonly ChannelBreak[] {
  return control === 'no-proof' || control === 'silent-break' ? ['swallow', 'hold', 'cut'] : [];
}

const LOST = 0.1;

/** The cache with one rule out. */
export function without(control: NearControl | undefined, cache: CacheAdapter, random: Random): CacheAdapter {
  if (control === undefined) return cache;
  const watchChanges: NonNullable<CacheAdapter['watchChanges']> = (prefix, listener) => {
    const watch = cache.watchChanges?.(prefix, {
      changed(key) {
        if (control === 'tags-untold' && key.includes('%t:')) return;
        if (control !== 'lost-message' || random() >= LOST) listener.changed(key);
      },
      lost() {
        if (control !== 'silent-break') listener.lost();
      },
    });
    if (watch === undefined) throw new Error('the cache tells of no changes');
    return {
      add: (added) => watch.add(added),
      ping: async () => {
        const pinging = watch.ping();
        if (control !== 'no-proof') return await pinging;
        pinging.catch(() => undefined);
      },
      close: () => watch.close(),
    };
  };
  return { ...cache, watchChanges };
}
