import { vi } from 'vitest';
import type { CacheHit } from '../../src/contracts/cache-commands.js';
import { parseEnded } from '../../src/protocol/ended.js';
import { type Entry, hitOf } from '../../src/protocol/entry.js';
import { tokenOf } from '../../src/protocol/tags.js';
import { applyCommand } from '../../src/protocol/transitions.js';
import { Codec } from '../../src/values/codec.js';
import type { RowTagsWorldOptions } from './row-tags-world.js';

/** One rule of tagged rows taken out, and the world in which that must show. */
export interface RowTagsControl {
  readonly name: string;
  /** Made anew for each history. */
  readonly world: () => Omit<RowTagsWorldOptions, 'seed'>;
  /** Changes the engine itself, until it is disposed. */
  readonly change?: () => Disposable;
}

const isList = (key: string): boolean => key.endsWith('%t:ended');

/** What the cache holds at the list's key. */
let held: Entry;

/** Entries note how far the list goes once the row was loaded, or written. */
function markAfterTheLoad(): Disposable {
  const encode = Codec.prototype.encode;
  const encoding = vi.spyOn(Codec.prototype, 'encode').mockImplementation(function (
    this: Codec<unknown>,
    value,
    key,
    version,
    mark,
  ) {
    const list = parseEnded(tokenOf(hitOf(held)) ?? '');
    const [generation] = mark?.split(' ') ?? [];
    const late = list && generation && `${generation} ${list.token} ${list.last}`;
    return encode.call(this, value, key, version, late ?? mark);
  });
  return { [Symbol.dispose]: () => encoding.mockRestore() };
}

export const ROW_TAGS_CONTROLS: readonly RowTagsControl[] = [
  {
    name: 'entries note the tags that were ended by the end of the load',
    world: () => {
      held = undefined;
      return {
        apply: (entry, command, nowMs) => {
          const transition = applyCommand(entry, command, nowMs);
          if (isList(command.key)) held = transition.entry;
          return transition;
        },
      };
    },
    change: markAfterTheLoad,
  },
  {
    name: 'a missing list counts as unchanged',
    world: () => {
      const last = new Map<string, CacheHit>();
      return {
        cacheOf: (cache) => ({
          ...cache,
          async read(keys, encoding) {
            const hits = await cache.read(keys, encoding);
            return hits.map((hit, i) => {
              const key = keys[i] as string;
              if (!isList(key) || hit instanceof Error) return hit;
              if (hit !== undefined) last.set(key, hit);
              return hit ?? last.get(key);
            });
          },
        }),
      };
    },
  },
  {
    name: 'what others have added to the list meanwhile is overwritten',
    world: () => ({
      apply: (entry, command, nowMs) => {
        if (command.kind !== 'refresh' || !isList(command.key)) return applyCommand(entry, command, nowMs);
        const { unchanged: _, ...blind } = command;
        return applyCommand(entry, blind, nowMs);
      },
    }),
  },
];
