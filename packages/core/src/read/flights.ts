import { copyOf } from '../values/copy.js';

/** The pauses of readers that wait for the load of another process, for `Backoff`. */
export const POLLS = { firstMs: 2, lastMs: 25, jitter: 0 };

/** A load of this process that other readers may join. */
export interface Flight<Loaded> {
  /** True once a reader has joined. */
  joined: boolean;
  /** The loaded value, once it has proved to be current; `undefined` when it has not. */
  readonly proven: Promise<Loaded | undefined>;
  end(proven: Loaded | undefined): void;
}

/**
 * The loads of this process, one at the most for each key, that other readers may join: only while it is open whether
 * what they load is current (G2).
 */
export class Flights<Loaded extends { readonly value: unknown }> {
  readonly #flights = new Map<string, Flight<Loaded>>();

  has(cacheKey: string): boolean {
    return this.#flights.has(cacheKey);
  }

  begin(cacheKey: string): Flight<Loaded> {
    const { promise: proven, resolve: end } = Promise.withResolvers<Loaded | undefined>();
    const flight = { joined: false, proven, end };
    this.#flights.set(cacheKey, flight);
    return flight;
  }

  /** The value that the load of a key proves to be current, as a copy for this reader alone; `undefined`: there is none. */
  async join(cacheKey: string): Promise<Loaded | undefined> {
    const flight = this.#flights.get(cacheKey);
    if (flight === undefined) return undefined;
    flight.joined = true;
    const proven = await flight.proven;
    return proven && { ...proven, value: copyOf(proven.value) };
  }

  /** No reader joins the load of a key from now on. With `flight` only that load is closed, not a later one. */
  close(cacheKey: string, flight?: Flight<Loaded>): void {
    // An empty map would still ask for the key's hash.
    if (this.#flights.size === 0) return;
    if (flight === undefined || this.#flights.get(cacheKey) === flight) this.#flights.delete(cacheKey);
  }
}
