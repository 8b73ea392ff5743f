import type { ChangeFeed } from '../../src/contracts/feed.js';
import type { StoreCommand } from '../../src/contracts/store.js';
import { StoreTimeoutError } from '../../src/errors.js';
import type { MemoryStore } from '../../src/memory/index.js';
import type { CommitRecord } from './history.js';
import type { Scheduler } from './scheduler.js';

export interface SnapshotsOptions<Value> {
  readonly inner: MemoryStore<Value>;
  readonly scheduler: Scheduler;
  /** The newest commit of a key, by whomever. */
  readonly newest: (key: string) => CommitRecord | undefined;
  /**
   * A put that would insert below a delete which its snapshot hides is refused, and so runs again. `false`, a
   * negative control: it is stamped as of its snapshot, below the tombstone.
   */
  readonly refuses: boolean;
}

/**
 * A store whose sessions keep a snapshot: each write may wait for others after it has looked. What changed meanwhile
 * it can't write to, and is run again, as the server has it; but an insert meets no row that was deleted.
 */
export function snapshots<Value>(options: SnapshotsOptions<Value>): MemoryStore<Value> {
  const { inner, newest, refuses, scheduler } = options;
  /** Versions of rows below their own tombstones, by what the memory store gave them; and back. */
  const lowered = new Map<number, number>();
  const raised = new Map<number, number>();
  const low = <T extends { readonly version: number }>(of: T): T => ({
    ...of,
    version: lowered.get(of.version) ?? of.version,
  });
  const high = (version: number): number => raised.get(version) ?? version;

  const feed: ChangeFeed = {
    name: inner.feed.name,
    registry: inner.feed.registry,
    consume: (handler, how) => inner.feed.consume((changes) => handler(changes.map(low)), how),
    replay: (since, handler, how) => inner.feed.replay(since, (changes) => handler(changes.map(low)), how),
    acknowledge: (changes, under) =>
      inner.feed.acknowledge(
        changes.map((change) => ({ ...change, version: high(change.version) })),
        under,
      ),
    status: (sources) => inner.feed.status(sources),
    close: () => inner.feed.close(),
  };
  return {
    ...inner,
    feed,
    read: async (keys, how) =>
      (await inner.read(keys, how)).map((row) => (row === undefined ? row : low(row))),
    write: async (commands, how) => {
      const startedAt = scheduler.clock.monotonic();
      for (;;) {
        const seen = commands.map(({ key }) => newest(key));
        await scheduler.deliver();
        if (scheduler.clock.monotonic() - startedAt >= how.timeoutMs) throw new StoreTimeoutError('late');
        const changed = commands.filter(({ key }, i) => newest(key) !== seen[i]);
        const hidden = changed.filter(
          (command) => isBlindPut(command) && newest(command.key)?.deleted === true,
        );
        if (changed.length > hidden.length || (refuses && hidden.length > 0)) continue;
        const tombstones = new Map(hidden.map(({ key }) => [key, newest(key)?.version ?? 0]));
        const outcomes = await inner.write(
          commands.map((command) =>
            'ifVersion' in command && typeof command.ifVersion === 'number'
              ? { ...command, ifVersion: high(command.ifVersion) }
              : command,
          ),
          how,
        );
        return outcomes.map((outcome, i) => {
          const tombstone = tombstones.get(commands[i]?.key ?? '');
          if (outcome.kind !== 'written' || tombstone === undefined) return outcome;
          lowered.set(outcome.version, tombstone - 2);
          raised.set(tombstone - 2, outcome.version);
          return low(outcome);
        });
      }
    },
  };
}

function isBlindPut(command: StoreCommand<unknown>): boolean {
  return command.kind === 'put' && command.ifVersion === undefined;
}
