import type { CollectionInfo, Lockstep, ViewInfo } from '@lockstep/core';
import { type Clock, systemClock } from '@lockstep/core';
import { sleep } from '@lockstep/core/kit';

/** Keys of the change feed that wait to be looked at; the oldest go first. */
const MAX_TOLD = 1_000;
/** Keys that were sampled and wait. */
const MAX_SAMPLED = 500;
/** The rest between two steps through the cache's keys, so that a large cache is not walked at full speed. */
const PAUSE_MS = 50;
/** Between two walks, and after a failure. */
const AGAIN_MS = 1_000;

export interface Candidate {
  readonly part: CollectionInfo | ViewInfo;
  /** Behind the part's key prefix. */
  readonly key: string;
}

/** The keys that are looked at next: those that the relay has just dealt with, and live entries, one after the other. */
export class Candidates {
  readonly #lockstep: Lockstep;
  readonly #clock: Clock;
  readonly #ending = new AbortController();
  #told: Candidate[] = [];
  #sampled: Candidate[] = [];
  #roomMade: (() => void) | undefined;
  #walking: Promise<void> = Promise.resolve();
  readonly #unsubscribe: () => void;

  constructor(lockstep: Lockstep, clock: Clock = systemClock) {
    this.#lockstep = lockstep;
    this.#clock = clock;
    this.#unsubscribe = lockstep.events.on('relay', ({ sample }) => {
      for (const { key, source } of sample) {
        for (const part of lockstep.collections) {
          if (part.store.source === source) this.#told.push({ part, key });
        }
      }
      this.#told = this.#told.slice(-MAX_TOLD);
    });
  }

  start(): void {
    this.#walking = this.#walk();
  }

  async stop(): Promise<void> {
    this.#unsubscribe();
    this.#ending.abort();
    this.#roomMade?.();
    await this.#walking;
  }

  /** At most so many, each key once: half of them from the feed, where it has as many. */
  take(count: number): readonly Candidate[] {
    const told = this.#told.splice(0, Math.max(Math.ceil(count / 2), count - this.#sampled.length));
    const sampled = this.#sampled.splice(0, count - told.length);
    this.#roomMade?.();
    const taken = [...told, ...sampled];
    return [...new Map(taken.map((each) => [each.part.keyPrefix + each.key, each])).values()];
  }

  /** Round and round through the live entries of every part. */
  async #walk(): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted) {
      const { collections, views } = this.#lockstep;
      for (const part of [...collections, ...views]) await this.#walkPart(part).catch(() => undefined);
      await sleep(this.#clock, AGAIN_MS, signal);
    }
  }

  async #walkPart(part: Candidate['part']): Promise<void> {
    const { keyPrefix } = part;
    const encoding = 'serializer' in part ? part.serializer.encoding : part.encoding;
    const { signal } = this.#ending;
    for await (const { key, state, unflushed } of this.#lockstep.cache.scan(keyPrefix, encoding, {
      pauseMs: PAUSE_MS,
    })) {
      if (signal.aborted) return;
      if (state === 'hole' || unflushed === true) continue;
      this.#sampled.push({ part, key: key.slice(keyPrefix.length) });
      if (this.#sampled.length < MAX_SAMPLED) continue;
      await new Promise<void>((resolve) => {
        this.#roomMade = resolve;
      });
    }
  }
}
