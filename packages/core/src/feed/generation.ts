import type { CacheClient } from '../cache/client.js';
import type { CancelTimer, Clock } from '../contracts/clock.js';
import type { ConsumerRecord } from '../contracts/registry.js';
import { sleep } from '../kit/wait.js';
import type { EventHub } from '../runtime/events.js';
import type { Consumer } from './consumer.js';
import { Positions } from './positions.js';

export interface GenerationWatchOptions {
  readonly consumer: Consumer;
  readonly cache: CacheClient;
  readonly clock: Clock;
  readonly events: EventHub;
  readonly nextToken: () => string;
}

/** Hands over what was not dealt with at the oldest of a source's positions, for these sources. */
export type Replay = (
  since: ReadonlyMap<string, readonly string[]>,
  sources: readonly string[],
) => Promise<void>;

const POLL_MS = 1_000;
const LEASE_MS = 10_000;

/**
 * Notices a cache that may have lost acknowledged writes (restarted from an old snapshot, failed over to a lagging
 * replica), and a store whose history has a gap: the registry gets a new epoch first, so that nobody
 * acknowledges what was done before, and one relay of many replays it. How far back it has to go the cache itself
 * tells: it holds, for each source, the position that everything was dealt with when it was written.
 */
export class GenerationWatch {
  readonly #options: GenerationWatchOptions;
  readonly #positions: Positions;

  constructor(options: GenerationWatchOptions) {
    this.#options = options;
    this.#positions = new Positions(options);
  }

  /** Watches until the signal aborts. */
  async run(signal: AbortSignal, replay: Replay): Promise<void> {
    const { clock, events } = this.#options;
    while (!signal.aborted) {
      try {
        await this.#check(signal, replay);
      } catch (error) {
        events.error.emit({ where: 'generation', error });
      }
      await sleep(clock, POLL_MS, signal);
    }
  }

  async #check(signal: AbortSignal, replay: Replay): Promise<void> {
    const { consumer } = this.#options;
    const records = await consumer.observe();
    if (records.length === 0) return;
    const { primaries } = consumer;
    await this.#positions.keep(
      records.filter(({ replayed }) => replayed),
      primaries,
    );
    const due = records.filter(({ replayed }) => !replayed);
    if (due.length > 0) await this.#replay(due, primaries, signal, replay);
  }

  async #replay(
    due: readonly ConsumerRecord[],
    primaries: number,
    signal: AbortSignal,
    replay: Replay,
  ): Promise<void> {
    const { consumer, events, nextToken } = this.#options;
    const { registry } = consumer.feed;
    const holder = nextToken();
    const epochs = new Map(due.map(({ source, epoch }) => [source, epoch]));
    const lease = (): Promise<readonly string[]> =>
      registry.lease(consumer.consumer, epochs, holder, LEASE_MS);
    const sources = await lease();
    if (sources.length === 0) return;
    const generation = due[0]?.identity;
    if (generation !== undefined) events.cacheGeneration.emit({ generation });
    const end = this.#renew(lease);
    try {
      await replay(await this.#positions.read(sources, primaries), sources);
      if (signal.aborted) return;
      const replayed = due.filter(({ source }) => sources.includes(source));
      await this.#positions.start(replayed, primaries);
      const ended = replayed.map(({ source, epoch }): [string, number] => [source, epoch]);
      await registry.replayed(consumer.consumer, new Map(ended), holder);
    } finally {
      end();
      // What was cut short is left to the next relay.
      await registry.release(consumer.consumer, holder);
    }
  }

  /** A replay may take longer than a lease stands. Returns what ends the renewals. */
  #renew(lease: () => Promise<unknown>): () => void {
    const { clock } = this.#options;
    let cancel: CancelTimer;
    const again = (): void => {
      // One that fails leaves two more before the lease runs out.
      lease().catch(() => undefined);
      cancel = clock.schedule(again, LEASE_MS / 3);
    };
    cancel = clock.schedule(again, LEASE_MS / 3);
    return () => cancel();
  }
}
