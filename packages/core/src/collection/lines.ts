import type { CancelTimer, Clock } from '../contracts/clock.js';
import { StoreOverloadedError } from '../errors.js';
import { type Linked, LinkedList } from '../write/linked-list.js';
import type { BatchSettings } from './settings.js';

/** A call that waits for its turn among the calls of its key. */
export interface InLine<Call> extends Linked<Call> {
  /** How many calls had joined a line of the collection when it did, itself included. */
  place: number;
  /** By the monotonic clock. */
  readonly sinceMs: number;
  /** The caller has its answer, or does not wait for one any more. */
  readonly over: boolean;
  /** Ends the call, even while it has its turn. */
  end(): void;
  reject(error: unknown): void;
}

/** The calls of one key that wait, oldest first, while one of them has its turn. */
export class Line<Call extends InLine<Call>> {
  readonly key: string;
  readonly #waiting = new LinkedList<Call>();
  cancelSweep: CancelTimer | undefined;

  constructor(key: string) {
    this.key = key;
  }

  get first(): Call | undefined {
    return this.#waiting.first;
  }

  add(call: Call): void {
    this.#waiting.add(call);
  }

  /** Takes a call out: it has its turn, or is over. */
  take(call: Call): void {
    this.#waiting.delete(call);
  }

  /** Calls that had their turn, and need another one: before all others, in their order. */
  putBack(calls: readonly Call[]): void {
    for (const call of calls.toReversed()) if (!call.over) this.#waiting.addFirst(call);
  }

  rejectAll(error: unknown): void {
    for (let call = this.first; call !== undefined; call = this.first) {
      this.take(call);
      call.reject(error);
    }
  }
}

export interface KeyLinesOptions<Call extends InLine<Call>> {
  readonly collection: string;
  readonly clock: Clock;
  readonly bounds: Pick<BatchSettings, 'maxWaiting' | 'queueTimeoutMs'>;
  /** Gives the calls of a line their turns, until none waits. Must not reject. */
  readonly serve: (line: Line<Call>) => Promise<void>;
}

/**
 * The lines of a collection's keys: calls of this process that read a row before they write it come one after the other,
 * since they would defeat each other. As many may wait in all as writes may wait for a batch, and as long.
 */
export class KeyLines<Call extends InLine<Call>> {
  readonly #options: KeyLinesOptions<Call>;
  readonly #lines = new Map<string, Line<Call>>();
  #joined = 0;
  /** Calls that are not over. */
  #calls = 0;

  constructor(options: KeyLinesOptions<Call>) {
    this.#options = options;
  }

  /** Calls that have joined a line so far. */
  get joined(): number {
    return this.#joined;
  }

  /** The call of a key that waits first; `undefined`: none does. */
  firstOf(key: string): Call | undefined {
    return this.#lines.get(key)?.first;
  }

  /** Throws `StoreOverloadedError` where too many wait. A lone call has its turn at once. */
  join(key: string, call: Call): void {
    const { bounds, collection } = this.#options;
    if (this.#calls >= bounds.maxWaiting) {
      const message = `collection "${collection}": ${bounds.maxWaiting} calls wait for their turns already (batch.maxWaiting)`;
      throw new StoreOverloadedError(message, { collection, key });
    }
    this.#calls++;
    call.place = ++this.#joined;
    const line = this.#lines.get(key);
    if (line === undefined) {
      const made = new Line<Call>(key);
      this.#lines.set(key, made);
      made.add(call);
      void this.#serve(made);
    } else {
      line.add(call);
      if (line.cancelSweep === undefined) this.#sweepLater(line);
    }
  }

  /** The call is over. */
  leave(key: string, call: Call): void {
    this.#calls--;
    call.end();
    this.#lines.get(key)?.take(call);
  }

  async #serve(line: Line<Call>): Promise<void> {
    do await this.#options.serve(line);
    while (line.first !== undefined);
    line.cancelSweep?.();
    this.#lines.delete(line.key);
  }

  /** Sets the one timer of a line: its calls wait, and run out of time, in the order in which they came. */
  #sweepLater(line: Line<Call>): void {
    const { bounds, clock } = this.#options;
    line.cancelSweep = undefined;
    if (line.first === undefined) return;
    const leftMs = line.first.sinceMs + bounds.queueTimeoutMs - clock.monotonic();
    line.cancelSweep = clock.schedule(() => this.#sweep(line), Math.max(1, leftMs));
  }

  #sweep(line: Line<Call>): void {
    const { bounds, clock, collection } = this.#options;
    const limit = clock.monotonic() - bounds.queueTimeoutMs;
    for (let call = line.first; call !== undefined && call.sinceMs <= limit; call = line.first) {
      const message = `collection "${collection}": a call waited longer than ${bounds.queueTimeoutMs} ms for its turn (batch.queueTimeoutMs)`;
      line.take(call);
      call.reject(new StoreOverloadedError(message, { collection, key: line.key }));
    }
    this.#sweepLater(line);
  }
}
