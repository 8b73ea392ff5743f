import type { Clock } from '../../contracts/clock.js';
import type {
  ConsumerRecord,
  ConsumerRegistry,
  ConsumerState,
  RecordedCollection,
} from '../../contracts/registry.js';

export interface MemoryRegistryOptions {
  readonly clock: Clock;
  /** What {@link ConsumerRecord.position} is, for a consumer that has no more to deal with than what the feed holds. */
  readonly position: (consumer: string, source: string) => string | undefined;
}

/** An identity that was replaced returns only when the present one was not observed for so long. */
const RETURN_MS = 5_000;
const MAX_LEFT = 16;

interface Entry {
  readonly source: string;
  readonly collections: Map<string, RecordedCollection>;
  readonly left: string[];
  revision: number;
  changedAtMs: number;
  epoch: number;
  replayed: number;
  identity: string | undefined;
  observedAtMs: number;
  holder: string | undefined;
  heldUntilMs: number;
}

/** A registry of consumers in this process's memory, and what a feed asks of it. */
export interface MemoryRegistry extends ConsumerRegistry {
  /** Whether it still is in this state. */
  stands(state: ConsumerState): boolean;
  /** Everyone who is recorded for a source. */
  consumersOf(source: string): readonly string[];
}

export function memoryRegistry({ clock, position }: MemoryRegistryOptions): MemoryRegistry {
  const consumers = new Map<string, Map<string, Entry>>();

  function entryOf(consumer: string, source: string): Entry {
    const sources = consumers.get(consumer) ?? new Map<string, Entry>();
    consumers.set(consumer, sources);
    const entry = sources.get(source) ?? {
      source,
      collections: new Map(),
      left: [],
      revision: 0,
      changedAtMs: 0,
      epoch: 0,
      replayed: 0,
      identity: undefined,
      observedAtMs: 0,
      holder: undefined,
      heldUntilMs: 0,
    };
    sources.set(source, entry);
    return entry;
  }

  function recordOf(consumer: string, entry: Entry): ConsumerRecord {
    const { source, revision, epoch, replayed, identity, collections, left, changedAtMs } = entry;
    return {
      consumer,
      source,
      revision,
      epoch,
      collections: [...collections.values()],
      identity,
      left: [...left],
      replayed: replayed === epoch,
      changedAgoMs: clock.monotonic() - changedAtMs,
      position: position(consumer, source),
    };
  }

  function known(consumer: string, sources: Iterable<string>): Entry[] {
    return [...sources].flatMap((source) => consumers.get(consumer)?.get(source) ?? []);
  }

  return {
    async register(consumer, collections) {
      const changed = new Map<Entry, boolean>();
      for (const collection of collections) {
        const entry = entryOf(consumer, collection.source);
        const same = isSame(entry.collections.get(collection.name), collection);
        changed.set(entry, changed.get(entry) === true || !same);
        entry.collections.set(collection.name, collection);
      }
      for (const [entry, differs] of changed) {
        if (!differs) continue;
        entry.revision += 1;
        entry.changedAtMs = clock.monotonic();
      }
      return [...changed.keys()].map((entry) => recordOf(consumer, entry));
    },
    async read(consumer, sources) {
      return known(consumer, sources).map((entry) => recordOf(consumer, entry));
    },
    async observe(consumer, sources, identity) {
      const now = clock.monotonic();
      return known(consumer, sources).map((entry) => {
        if (entry.identity !== identity) {
          const returns = entry.left.includes(identity);
          if (returns && now - entry.observedAtMs < RETURN_MS) return recordOf(consumer, entry);
          if (entry.identity !== undefined) entry.left.push(entry.identity);
          while (entry.left.length > MAX_LEFT) entry.left.shift();
          entry.identity = identity;
          entry.epoch += 1;
          entry.holder = undefined;
        }
        entry.observedAtMs = now;
        return recordOf(consumer, entry);
      });
    },
    async lease(consumer, epochs, holder, leaseMs) {
      const now = clock.monotonic();
      const free = known(consumer, epochs.keys()).filter(
        (entry) =>
          entry.epoch === epochs.get(entry.source) &&
          entry.replayed !== entry.epoch &&
          (entry.holder === undefined || entry.holder === holder || entry.heldUntilMs <= now),
      );
      for (const entry of free) {
        entry.holder = holder;
        entry.heldUntilMs = now + leaseMs;
      }
      return free.map(({ source }) => source);
    },
    async replayed(consumer, epochs, holder) {
      for (const entry of known(consumer, epochs.keys())) {
        if (entry.holder !== holder) continue;
        if (entry.epoch === epochs.get(entry.source)) entry.replayed = entry.epoch;
      }
    },
    async release(consumer, holder) {
      for (const entry of consumers.get(consumer)?.values() ?? []) {
        if (entry.holder === holder) entry.holder = undefined;
      }
    },
    stands({ consumer, source, revision, epoch }) {
      const entry = consumers.get(consumer)?.get(source);
      return entry?.revision === revision && entry.epoch === epoch;
    },
    consumersOf(source) {
      return [...consumers].filter(([, sources]) => sources.has(source)).map(([consumer]) => consumer);
    },
  };
}

function isSame(a: RecordedCollection | undefined, b: RecordedCollection): boolean {
  return a?.keyPrefix === b.keyPrefix && a.holeTtlMs === b.holeTtlMs && a.holeOnEmpty === b.holeOnEmpty;
}
