import type { CacheAdapter, UnflushedIndex } from '../../src/contracts/cache.js';
import type { BufferCommand } from '../../src/contracts/cache-commands.js';
import type { StoreAdapter, StoreCommand } from '../../src/contracts/store.js';
import type { Entry, Transition } from '../../src/protocol/entry.js';
import { applyCommand } from '../../src/protocol/transitions.js';
import type { BufferWorldOptions } from './buffer-world.js';
import type { Apply } from './sim-cache.js';

/** A rule of the buffer that is taken out. */
export interface BufferControl {
  readonly name: string;
  readonly world: Omit<BufferWorldOptions, 'seed'>;
}

const isUnflushed = (entry: Entry) => entry?.kind === 'value' && entry.unflushed;

function buffering(
  change: (entry: Entry, command: BufferCommand, nowMs: number) => Transition | undefined,
): Apply {
  return (entry, command, nowMs) =>
    (command.kind === 'buffer' ? change(entry, command, nowMs) : undefined) ??
    applyCommand(entry, command, nowMs);
}

/** The version of what has just been buffered, changed. */
function renumbered(result: Transition, change: (version: number) => number): Transition {
  const { entry, reply } = result;
  if (reply.kind !== 'buffer' || reply.outcome !== 'buffered' || entry?.kind !== 'value') return result;
  const version = change(reply.version);
  return { entry: { ...entry, version }, reply: { ...reply, version } };
}

type Row = { readonly n: number };

/** Sends flushes to the store in another form. */
function flushing(
  change: (command: StoreCommand<Row>) => StoreCommand<Row>,
): NonNullable<BufferWorldOptions['wrapStore']> {
  return (store: StoreAdapter<Row>) => ({
    ...store,
    write: (commands, options) =>
      store.write(
        commands.map((command) => (command.kind === 'flush' ? change(command) : command)),
        options,
      ),
  });
}

function blind(command: StoreCommand<Row>, above: number): StoreCommand<Row> {
  if (command.kind !== 'flush') return command;
  const { key, value } = command;
  return value === null ? { kind: 'delete', key, above } : { kind: 'put', key, value, above };
}

export const CONTROLS: readonly BufferControl[] = [
  { name: 'flush-without-version', world: { wrapStore: flushing((command) => blind(command, 0)) } },
  {
    name: 'flush-restamps',
    world: {
      wrapStore: (store) => ({
        ...store,
        async write(commands, options) {
          const rows = await store.read(
            commands.map(({ key }) => key),
            { ...options, primary: true },
          );
          const late = commands.map((command, i) => {
            if (command.kind !== 'flush' || (rows[i]?.version ?? 0) >= command.version) return command;
            return blind(command, command.version);
          });
          return await store.write(late, options);
        },
      }),
    },
  },
  {
    name: 'flushed-clears-any',
    world: {
      apply: (entry, command, nowMs) =>
        command.kind === 'flushed' && entry?.kind === 'value'
          ? applyCommand(entry, { ...command, version: entry.version }, nowMs)
          : applyCommand(entry, command, nowMs),
    },
  },
  {
    name: 'put-clears-unflushed',
    world: {
      apply: (entry, command, nowMs) => {
        const result = applyCommand(entry, command, nowMs);
        return command.kind === 'put' && isUnflushed(result.entry) && result.entry?.kind === 'value'
          ? { ...result, entry: { ...result.entry, unflushed: false, expiresAtMs: nowMs + command.ttlMs } }
          : result;
      },
    },
  },
  {
    name: 'buffer-on-empty',
    world: {
      apply: buffering((entry, command, nowMs) => {
        if (entry?.kind === 'value') return undefined;
        const value = { kind: 'value', version: 1, payload: null, staleAtMs: 0, unflushed: false } as const;
        return applyCommand({ ...value, expiresAtMs: nowMs + 1 }, command, nowMs);
      }),
    },
  },
  {
    name: 'clock-only-version',
    world: {
      apply: buffering((entry, command, nowMs) =>
        entry?.kind === 'value' && entry.version > 0
          ? applyCommand({ ...entry, version: 1 }, command, nowMs)
          : undefined,
      ),
    },
  },
  { name: 'evictable', world: { evictsUnflushed: true } },
  {
    name: 'shared-numbers',
    world: {
      apply: buffering((entry, command, nowMs) =>
        renumbered(applyCommand(entry, command, nowMs), (version) => version + 1),
      ),
    },
  },
  {
    name: 'late-command',
    world: {
      apply: buffering((entry, command, nowMs) =>
        applyCommand(entry, { ...command, notAfterMs: Number.POSITIVE_INFINITY }, nowMs),
      ),
    },
  },
  { name: 'no-skew-wait', world: { maxClockSkewMs: 0, cacheTimeoutMs: 10, faults: 0.05 } },
  {
    name: 'index-after-entry',
    world: {
      wrapCache: (cache: CacheAdapter) => {
        const index = cache.unflushed as UnflushedIndex;
        return {
          ...cache,
          unflushed: {
            durable: false,
            async add(name, keys, limit) {
              const { nowMs } = await index.add(name, [], limit);
              if (keys.length > 0) void index.add(name, keys, limit);
              return { nowMs, marks: keys.map(() => 1) };
            },
            list: (name, after, limit) => index.list(name, after, limit),
            remove: (name, keys) => index.remove(name, keys),
            size: (name) => index.size(name),
          },
        };
      },
    },
  },
  {
    name: 'update-without-flush',
    world: {
      apply: (entry, command, nowMs) =>
        command.kind === 'intend' && entry?.kind === 'value'
          ? applyCommand({ ...entry, unflushed: false }, command, nowMs)
          : applyCommand(entry, command, nowMs),
    },
  },
];
