import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../../contracts/clock.js';
import type {
  ConsumerRecord,
  ConsumerRegistry,
  ConsumerState,
  RecordedCollection,
} from '../../contracts/registry.js';

export interface MemoryRegistryOptions {
  readonly clock: Clock;
  /** The {@link ConsumerRecord.position} of a consumer that has dealt with all but what the feed holds. */
  readonly position: (consumer: string, source: string) => string | undefined;
}

/** An identity that was replaced returns only when the present one was not observed for so long. */
const RETURN_MS = 5_000;
const MAX_LEFT = 16;

/** The record of one consumer and one source. */
class Entry {
  readonly consumer: string;
  readonly source: string;
  readonly collections = new Map<string, RecordedCollection>();
  left: readonly string[] = [];
  revision = 0;
  changedAtMs = 0;
  epoch = 0;
  replayed = 0;
  identity: string | undefined;
  observedAtMs = 0;
  holder: string | undefined;
  heldUntilMs = 0;
  ended = false;
  switchedOff = false;

  constructor(consumer: string, source: string) {
    this.consumer = consumer;
    this.source = source;
  }
}

/** A registry of consumers in this process's memory, and what a feed asks of it. */
export interface MemoryRegistry extends ConsumerRegistry {
  /** True while the record is still in this state. */
  stands(state: ConsumerState): boolean;
  /** Everyone who is recorded for a source. */
  consumersOf(source: string): readonly string[];
}

export function memoryRegistry({ clock, position }: MemoryRegistryOptions): MemoryRegistry {
  const entries: Entry[] = [];

  function of(consumer: string): Entry[] {
    return entries.filter((entry) => entry.consumer === consumer);
  }

  function known(consumer: string, sources: Iterable<string>): Entry[] {
    const wanted = new Set(sources);
    return of(consumer).filter(({ source }) => wanted.has(source));
  }

  function recordOf(entry: Entry): ConsumerRecord {
    const { changedAtMs, collections, consumer, epoch, identity, left, replayed, revision, source } = entry;
    const { switchedOff } = entry;
    return {
      ...{ consumer, source, revision, epoch, identity, left, switchedOff },
      collections: [...collections.values()],
      replayed: replayed === epoch,
      changedAgoMs: clock.monotonic() - changedAtMs,
      position: position(consumer, source),
    };
  }

  return {
    async register(consumer, collections) {
      const all = [...Map.groupBy(collections, ({ source }) => source)].map(([source, own]) => {
        const [entry = new Entry(consumer, source)] = known(consumer, [source]);
        if (!entries.includes(entry)) {
          entry.switchedOff = of(consumer).some((other) => other.switchedOff);
          entries.push(entry);
        }
        entry.ended = false;
        if (own.every((each) => isSame(entry.collections.get(each.name), each))) return entry;
        for (const each of own) entry.collections.set(each.name, each);
        entry.revision += 1;
        entry.changedAtMs = clock.monotonic();
        return entry;
      });
      return all.map(recordOf);
    },
    async switch(consumer, off) {
      const all = of(consumer);
      for (const entry of all) entry.switchedOff = off;
      return all.map(({ source }) => source);
    },
    async read(consumer, sources) {
      return known(consumer, sources).map(recordOf);
    },
    async consumers(sources) {
      const ofThese = entries.filter(({ source }) => sources.includes(source));
      return ofThese.map(({ collections, consumer, ended, source }) => {
        return { consumer, source, collections: [...collections.keys()], ended };
      });
    },
    async end(consumer, sources) {
      for (const entry of known(consumer, sources)) entry.ended = true;
    },
    async forget(consumer, sources) {
      for (const entry of known(consumer, sources)) entries.splice(entries.indexOf(entry), 1);
    },
    async observe(consumer, sources, identity) {
      const now = clock.monotonic();
      for (const entry of known(consumer, sources)) {
        if (entry.identity !== identity) {
          if (entry.left.includes(identity) && now - entry.observedAtMs < RETURN_MS) continue;
          const left = entry.identity === undefined ? [] : [entry.identity];
          entry.left = [...entry.left, ...left].slice(-MAX_LEFT);
          entry.identity = identity;
          entry.epoch += 1;
          entry.holder = undefined;
        }
        entry.observedAtMs = now;
        entry.ended = false;
      }
      return known(consumer, sources).map(recordOf);
    },
    async lease(consumer, epochs, holder, leaseMs) {
      const now = clock.monotonic();
      const free = known(consumer, epochs.keys()).filter(
        (entry) =>
          entry.epoch === epochs.get(entry.source) &&
          entry.replayed !== entry.epoch &&
          (entry.holder === undefined || entry.holder === holder || entry.heldUntilMs <= now),
      );
      for (const entry of free) Object.assign(entry, { holder, heldUntilMs: now + leaseMs });
      return free.map(({ source }) => source);
    },
    async replayed(consumer, epochs, holder) {
      for (const entry of known(consumer, epochs.keys())) {
        const holds = entry.holder === holder && entry.epoch === epochs.get(entry.source);
        if (holds) entry.replayed = entry.epoch;
      }
    },
    async release(consumer, holder) {
      for (const entry of entries) {
        if (entry.consumer === consumer && entry.holder === holder) entry.holder = undefined;
      }
    },
    stands({ consumer, source, revision, epoch }) {
      const entry = entries.find((each) => each.consumer === consumer && each.source === source);
      return entry?.revision === revision && entry.epoch === epoch;
    },
    consumersOf(source) {
      return entries.filter((entry) => entry.source === source).map(({ consumer }) => consumer);
    },
  };
}

function isSame(a: RecordedCollection | undefined, b: RecordedCollection): boolean {
  return isDeepStrictEqual(a, b);
}
