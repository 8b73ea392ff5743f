import { vi } from 'vitest';
import { parseEnded } from '../../src/protocol/ended.js';
import { type Entry, hitOf } from '../../src/protocol/entry.js';
import { tokenOf } from '../../src/protocol/tags.js';
import { applyCommand } from '../../src/protocol/transitions.js';
import { Codec } from '../../src/values/codec.js';
import { type Control, missingIsLast, restoring } from './grouped-world.js';
import type { RowTagsWorldOptions } from './row-tags-world.js';

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
  return restoring(encoding);
}

/** Rules of tagged rows. */
export const ROW_TAGS_CONTROLS: readonly Control<RowTagsWorldOptions>[] = [
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
    world: () => ({ cacheOf: missingIsLast(isList) }),
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
