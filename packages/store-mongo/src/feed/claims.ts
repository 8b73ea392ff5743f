import { type ConsumerState, type FeedClaimant, systemClock } from '@lockstep/core';
import { sleep } from '@lockstep/core/kit';
import { type Delivery, untilDone } from './deliver.js';
import type { Registry } from './registry.js';

/** How long changes that may not be claimed now wait before that is asked again, in ms. */
const UNCLAIMED_MS = 100;

/** The states of the registry that a batch is taken under, by source. */
export type ClaimStates = ReadonlyMap<string, ConsumerState | undefined>;

/** A reader's right to take changes: on behalf of a consumer, in the state that the store's registry is in. */
export class Claims {
  readonly #claimant: FeedClaimant | undefined;
  readonly #registry: Registry;
  readonly #delivery: Pick<Delivery, 'onError'>;

  constructor(claimant: FeedClaimant | undefined, registry: Registry, delivery: Pick<Delivery, 'onError'>) {
    this.#claimant = claimant;
    this.#registry = registry;
    this.#delivery = delivery;
  }

  get consumer(): string | undefined {
    return this.#claimant?.consumer;
  }

  /** Waits until changes of these sources may be claimed; `undefined` when the signal came first. */
  async states(sources: Iterable<string>, signal: AbortSignal): Promise<ClaimStates | undefined> {
    const wanted = [...sources];
    while (!signal.aborted) {
      const states = new Map(wanted.map((source) => [source, this.#claimant?.state(source)]));
      if (this.#claimant === undefined || [...states.values()].every((state) => state !== undefined)) {
        return states;
      }
      await sleep(systemClock, UNCLAIMED_MS, signal);
    }
    return undefined;
  }

  /** True while the registry is in these states; the claimant is told where it is not. */
  async stand(states: ClaimStates, signal: AbortSignal): Promise<boolean> {
    const { onError } = this.#delivery;
    const claimed = [...states.values()].filter((state) => state !== undefined);
    let same = false;
    await untilDone(
      async () => {
        same = await this.#registry.stands(claimed);
      },
      { signal, onError },
    );
    if (!same && !signal.aborted) await this.#claimant?.differs();
    return same;
  }
}
