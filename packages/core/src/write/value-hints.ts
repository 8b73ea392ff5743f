import type { Version } from '../contracts/version.js';
import type { Reservation } from './reservation.js';

/** The reservation of a key's writers who did not ask the cache: nothing is noted there for them. */
class ValueHint implements Reservation {
  above: Version;
  readonly token = undefined;
  readonly intent = false;
  readonly aheadMs = 0;

  constructor(above: Version) {
    this.above = above;
  }
}

/** Keys, and their characters: what memory they take must not depend on how long they are. */
const GENERATION = 20_000;
const GENERATION_CHARACTERS = 2_000_000;

/**
 * Keys of a collection thought to hold a value, and the version of it, so that their writers need not
 * reserve; a wrong guess costs a miss. (With cache-aside: keys with a floor, where it costs nothing.) It remembers the
 * last `GENERATION` keys at least (fewer of more than a hundred characters), and twice as many at most. A hint is made
 * once per key, not once per write: what lives that long is dear to collect.
 */
export class ValueHints {
  #young = new Map<string, ValueHint>();
  #old = new Map<string, ValueHint>();
  /** The characters of the young keys. */
  #characters = 0;

  get(key: string): Reservation | undefined {
    const hint = this.#young.get(key);
    if (hint !== undefined) return hint;
    const older = this.#old.get(key);
    if (older !== undefined) this.#add(key, older);
    return older;
  }

  /** `reservation`: what the writer got. Where that is the key's hint, there is nothing to look up. */
  set(key: string, version: Version, reservation: Reservation): void {
    const hint =
      reservation instanceof ValueHint ? reservation : (this.#young.get(key) ?? this.#old.get(key));
    if (hint === undefined) this.#add(key, new ValueHint(version));
    else if (version > hint.above) hint.above = version;
  }

  delete(key: string): void {
    this.#young.delete(key);
    this.#old.delete(key);
  }

  #add(key: string, hint: ValueHint): void {
    if (this.#young.size >= GENERATION || this.#characters >= GENERATION_CHARACTERS) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#characters = 0;
    }
    this.#characters += key.length;
    this.#young.set(key, hint);
  }
}
