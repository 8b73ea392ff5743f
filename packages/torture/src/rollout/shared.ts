/** Rows are few, so that everybody meets everybody. */
export const ROWS = 12;

/**
 * What the applications of a run tell each other at once, in memory that they share: a reader judges what it got by
 * what was acknowledged before it asked.
 */
export class Shared {
  readonly buffer: SharedArrayBuffer;
  readonly #versions: BigInt64Array;
  readonly #counts: Int32Array;
  readonly #tokens: Int32Array;

  constructor(buffer = new SharedArrayBuffer(ROWS * 16)) {
    this.buffer = buffer;
    this.#versions = new BigInt64Array(buffer, 0, ROWS);
    this.#counts = new Int32Array(buffer, ROWS * 8, ROWS);
    this.#tokens = new Int32Array(buffer, ROWS * 12, ROWS);
  }

  /** A write of the row was acknowledged, which added this much to its count. */
  acknowledge(id: number, version: number, added: number): void {
    Atomics.add(this.#counts, id - 1, added);
    let known = Atomics.load(this.#versions, id - 1);
    while (known < BigInt(version)) {
      const found = Atomics.compareExchange(this.#versions, id - 1, known, BigInt(version));
      if (found === known) return;
      known = found;
    }
  }

  /** The number that the row's owner has marked it with. */
  mark(id: number, token: number): void {
    Atomics.store(this.#tokens, id - 1, token);
  }

  version(id: number): number {
    return Number(Atomics.load(this.#versions, id - 1));
  }

  count(id: number): number {
    return Atomics.load(this.#counts, id - 1);
  }

  token(id: number): number {
    return Atomics.load(this.#tokens, id - 1);
  }
}
