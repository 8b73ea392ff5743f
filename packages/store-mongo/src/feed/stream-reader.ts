import { StoreTimeoutError, systemClock } from '@lockstep/core';
import { type Backoff, sleep, withTimeout } from '@lockstep/core/kit';
import type { ChangeStream, Document, ResumeToken } from 'mongodb';

const MAX_PATIENCE_MS = 600_000;
/** How long another stream waits for the server to close the one before. */
const CLOSING_MS = 1_000;
/** How long reading waits for room in a full queue. */
const FULL_MS = 5;

export interface StreamReaderOptions {
  /** For messages, e.g. `mongodb:shop`. */
  readonly name: string;
  readonly open: (from: ResumeToken) => ChangeStream<Document, Document>;
  /** Events read ahead; reading waits beyond. */
  readonly maxBuffered: number;
  /** How long a read may take at least. */
  readonly patienceMs: number;
}

/** Reads the change stream ahead of whoever takes its events. */
export class StreamReader {
  readonly #options: StreamReaderOptions;
  /** Events that were read and not yet taken, oldest first. */
  #queue: Document[] = [];
  #caughtUp = false;
  /** A time, by the server's clock, after the stream was opened. */
  #openedMs = Number.POSITIVE_INFINITY;
  #patienceMs: number;
  #wake: () => void = () => {};

  constructor(options: StreamReaderOptions) {
    this.#options = options;
    this.#patienceMs = options.patienceMs;
  }

  /** All that happened before the stream was opened has been read. Before that, the queue lacks some of what waits. */
  get caughtUp(): boolean {
    return this.#caughtUp;
  }

  get size(): number {
    return this.#queue.length;
  }

  get oldest(): Document | undefined {
    return this.#queue[0];
  }

  /** Notes the server's time. */
  tell(nowMs: number): void {
    this.#openedMs = Math.min(this.#openedMs, nowMs);
  }

  take(most: number): readonly Document[] {
    return this.#queue.splice(0, most);
  }

  clear(): void {
    this.#queue = [];
  }

  /** Resolves when there is something to take, or the signal aborts. */
  async arrived(signal: AbortSignal): Promise<void> {
    if (this.#queue.length > 0 || signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = (): void => resolve();
    this.#wake = wake;
    signal.addEventListener('abort', wake, { once: true });
    await promise;
    signal.removeEventListener('abort', wake);
  }

  /**
   * Reads into the queue until told to stop, or the stream ends. Rejects with the driver's error, or with a
   * `StoreTimeoutError` where a read hangs: it can't be called off, and while its server does not end the connection
   * the driver learns of it by its heartbeats alone, most of a minute later.
   *
   * @param onIdle told where the stream stands when nothing has come
   */
  async read(
    from: ResumeToken,
    stop: AbortSignal,
    backoff: Backoff,
    onIdle: (token: ResumeToken) => void,
  ): Promise<void> {
    const stream = this.#options.open(from);
    this.#caughtUp = false;
    this.#openedMs = Number.POSITIVE_INFINITY;
    let hangs = false;
    try {
      while (!stop.aborted) {
        if (this.#queue.length >= this.#options.maxBuffered) {
          await sleep(systemClock, FULL_MS, stop);
          continue;
        }
        const event = await this.#next(stream);
        backoff.reset();
        if (event === null) {
          this.#caughtUp = true;
          onIdle(stream.resumeToken);
          continue;
        }
        const at: unknown = event['wallTime'];
        if (at instanceof Date && at.getTime() >= this.#openedMs) this.#caughtUp = true;
        this.#queue.push(event);
        this.#wake();
        if (event['operationType'] === 'invalidate') return;
      }
    } catch (error) {
      hangs = error instanceof StoreTimeoutError;
      throw error;
    } finally {
      const closed = stream.close().catch(() => {});
      // Closing waits for a read that hangs, and for an answer of its own.
      if (!hangs) await Promise.race([closed, sleep(systemClock, CLOSING_MS)]);
    }
  }

  /** A server may need its time to find the next event of a long past: it is given twice as much after each time-out. */
  async #next(stream: ChangeStream<Document, Document>): Promise<Document | null> {
    const { name, patienceMs: leastMs } = this.#options;
    const patienceMs = this.#patienceMs;
    const sinceMs = performance.now();
    const late = (): Error => {
      this.#patienceMs = Math.min(2 * patienceMs, MAX_PATIENCE_MS);
      return new StoreTimeoutError(`${name}: reading the change stream: no answer in ${patienceMs} ms`);
    };
    const event = await withTimeout(systemClock, stream.tryNext(), patienceMs, late);
    this.#patienceMs = Math.max(leastMs, 3 * (performance.now() - sinceMs));
    return event;
  }
}
