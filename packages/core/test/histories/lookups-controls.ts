import type { CacheAdapter } from '../../src/contracts/cache.js';
import type { CacheCommand, CacheReply } from '../../src/contracts/cache-commands.js';
import type { LookupsWorldOptions } from './lookups-world.js';

/** A rule of lookups taken out. */
export interface LookupMutant {
  readonly name: string;
  readonly world: Omit<LookupsWorldOptions, 'seed'>;
}

const POINTER = 'wtc:rows%by-name:';
const NOTHING: CacheReply = { kind: 'invalidate', outcome: 'nothing' };

/** What becomes of the invalidations of pointers; `undefined`: they are not sent. */
function withInvalidations(change: (command: CacheCommand) => CacheCommand | undefined) {
  return (cache: CacheAdapter): CacheAdapter => ({
    ...cache,
    async execute(commands) {
      return await Promise.all(
        commands.map(async (command) => {
          const isPointer = command.kind === 'invalidate' && command.key.startsWith(POINTER);
          const sent = isPointer ? change(command) : command;
          if (sent === undefined) return NOTHING;
          const [reply] = await cache.execute([sent]);
          return reply ?? NOTHING;
        }),
      );
    },
  });
}

/** Pointers are filled with, and invalidated by, versions of the rows that have the value. */
function byVersion(): (cache: CacheAdapter) => CacheAdapter {
  /** The version of the last change of a row, which comes before those of its pointers in each batch. */
  let version = 0;
  return (cache) => ({
    ...cache,
    async execute(commands) {
      return await Promise.all(
        commands.map(async (command) => {
          if ('version' in command && command.version > 0) version = command.version;
          const { kind, key } = command;
          const isVersioned = kind === 'invalidate' || (kind === 'fill' && command.payload !== null);
          const sent = key.startsWith(POINTER) && isVersioned ? { ...command, version } : command;
          const [reply] = await cache.execute([sent]);
          return reply ?? NOTHING;
        }),
      );
    },
  });
}

export const LOOKUP_MUTANTS: readonly LookupMutant[] = [
  {
    name: 'the row that a pointer leads to is not looked at',
    world: {
      async find({ cache, rows, within }, name) {
        const [hit] = await within(cache.read([`${POINTER}=s${name}`], 'utf8'));
        if (hit === undefined || hit instanceof Error) return await rows.getBy('name', name);
        return hit.payload === null ? undefined : await rows.get(JSON.parse(String(hit.payload)) as string);
      },
    },
  },
  {
    name: 'a write leaves the pointer of the value that a row gets',
    world: { adaptCache: withInvalidations(() => undefined) },
  },
  {
    // As a table's own entries are: by the version of the row that gets the value.
    name: 'a pointer is invalidated by a version',
    world: { adaptCache: byVersion() },
  },
];
