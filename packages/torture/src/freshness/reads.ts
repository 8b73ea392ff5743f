/** A read that is under way or waits for its verdict. */
export type ReadTicket = number;

const PENDING = -1;
const VOID = -2;

/**
 * Reads in the order in which they began, in a ring of fixed size: typed arrays, since there are thousands
 * a second. When the ring is full further reads get no ticket, and go unjudged.
 */
export class ReadLog {
  readonly #capacity: number;
  readonly #index: Uint32Array;
  readonly #startMs: Float64Array;
  /** A version, 0 for an absence without one, or one of the marks above. */
  readonly #version: Float64Array;
  readonly #absent: Uint8Array;
  /** Running numbers of the oldest kept and of the next read. */
  #tail = 0;
  #head = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
    this.#index = new Uint32Array(capacity);
    this.#startMs = new Float64Array(capacity);
    this.#version = new Float64Array(capacity);
    this.#absent = new Uint8Array(capacity);
  }

  get size(): number {
    return this.#head - this.#tail;
  }

  begin(index: number, startMs: number): ReadTicket | undefined {
    if (this.size >= this.#capacity) return undefined;
    const ticket = this.#head;
    const slot = ticket % this.#capacity;
    this.#head += 1;
    this.#index[slot] = index;
    this.#startMs[slot] = startMs;
    this.#version[slot] = PENDING;
    return ticket;
  }

  end(ticket: ReadTicket, version: number, absent: boolean): void {
    const slot = ticket % this.#capacity;
    this.#version[slot] = version;
    this.#absent[slot] = absent ? 1 : 0;
  }

  /** The read failed: there is nothing to judge. */
  cancel(ticket: ReadTicket): void {
    this.#version[ticket % this.#capacity] = VOID;
  }

  /** Takes the finished reads that began before `horizonMs`, oldest first, up to the first unfinished one. */
  drain(
    horizonMs: number,
    visit: (index: number, startMs: number, version: number, absent: boolean) => void,
  ): void {
    while (this.#tail < this.#head) {
      const slot = this.#tail % this.#capacity;
      const version = this.#version[slot] ?? VOID;
      const startMs = this.#startMs[slot] ?? 0;
      if (version === PENDING || startMs >= horizonMs) return;
      this.#tail += 1;
      if (version !== VOID) visit(this.#index[slot] ?? 0, startMs, version, this.#absent[slot] === 1);
    }
  }
}
