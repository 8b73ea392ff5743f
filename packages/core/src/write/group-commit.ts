import type { Clock } from '../contracts/clock.js';
import { type LockstepError, StoreOverloadedError, StoreRefusedError } from '../errors.js';
import { KeyOrder, type KeyPlace } from './key-order.js';
import { LinkedList } from './linked-list.js';
import {
  type Caller,
  PendingWrite,
  PromisedCaller,
  type WriteRequest,
  type WriteState,
} from './pending-write.js';

export interface BatchBounds {
  readonly maxRows: number;
  readonly maxBytes: number;
  readonly maxInFlight: number;
  /** More writes wait outside. */
  readonly maxWaiting: number;
  /** How long a write may wait for its batch, or outside, in ms; `Infinity`: as long as it takes. */
  readonly queueTimeoutMs: number;
}

export interface GroupCommitOptions {
  readonly collection: string;
  readonly clock: Clock;
  readonly bounds: BatchBounds;
  /** A write is prepared when its turn among its key's has come, and nothing joins it from then on. @defaultValue false */
  readonly preparesInTurn?: boolean;
}

type Callers<Request, Answer> = Caller<Request, Answer>[];

/**
 * Group commit. Writes that arrive while others are under way travel together in one batch; a lone write starts in
 * the same tick. Writes of one key keep their order and never share a batch, except those that merge while they
 * wait. A refused write fails its own caller only. Where batches go is up to the subclass.
 */
export abstract class GroupCommit<Request extends WriteRequest, Answer, Prepared> {
  readonly #options: GroupCommitOptions;
  /** Each key's writes that are not done, in their order. */
  readonly #byKey = new KeyOrder<PendingWrite<Request, Answer, Prepared>>();
  /** Writes that were let in and not yet taken, oldest first. */
  readonly #waiting = new LinkedList<PendingWrite<Request, Answer, Prepared>>();
  /** Writes beyond `maxWaiting`, oldest first. */
  readonly #outside = new LinkedList<PendingWrite<Request, Answer, Prepared>>();
  readonly #ready: PendingWrite<Request, Answer, Prepared>[] = [];
  #inFlight = 0;
  #scheduled = false;
  #sweeping = false;

  constructor(options: GroupCommitOptions) {
    this.#options = options;
  }

  /** Two requests of one key as one: the later one itself, or a sum of both. `undefined`: each goes by itself. */
  protected abstract merged(earlier: Request, later: Request): Request | undefined;

  /** Before a write is sent; a promise only where somebody has to be asked. `before`: what an earlier try had. */
  protected abstract prepare(request: Request, before: Prepared | undefined): Prepared | Promise<Prepared>;

  /** Gives back what was prepared: the write failed with this error; `undefined`: it was not sent. */
  protected abandon(_key: string, _prepared: Prepared, _error: unknown): void {}

  /**
   * Sends a batch, in which each key has one write at most. Each write is ended and answered, failed, refused or
   * sent again, by now or later. Must not reject.
   */
  protected abstract commit(batch: readonly PendingWrite<Request, Answer, Prepared>[]): Promise<void>;

  /** Writes that wait for a batch. */
  get waiting(): number {
    return this.#waiting.size + this.#outside.size;
  }

  /** True while a write of the key waits or is under way. */
  has(key: string): boolean {
    return this.#byKey.last(key) !== undefined;
  }

  /**
   * Resolves with what became of the write. Rejects with why it failed, or with `StoreOverloadedError` when the write
   * could not start within `queueTimeoutMs`.
   */
  submit(request: Request): Promise<Answer> {
    return new Promise((resolve, reject) => this.send(new PromisedCaller(request, resolve, reject)));
  }

  /** As `submit`, without a promise: the caller is told, never at once. */
  send(caller: Caller<Request, Answer>): void {
    const { request } = caller;
    const place = this.#byKey.place(request.key);
    const { last } = place;
    const joined = last && this.#joined(last, request);
    if (last === undefined || joined === undefined) this.#add(Array.of(caller), request, place, true);
    else {
      last.callers.push(caller);
      last.request = joined;
    }
  }

  /** A key's last write together with another request, if that can still join it. */
  #joined(
    { joinable, request, state }: PendingWrite<Request, Answer, Prepared>,
    later: Request,
  ): Request | undefined {
    const asked = state !== 'queued' && state !== 'outside';
    const late = this.#options.preparesInTurn ? asked : state === 'taken';
    return late || !joinable ? undefined : this.merged(request, later);
  }

  /** A new write behind the key's last one, or right behind one that it goes again for. */
  #add(
    callers: Callers<Request, Answer>,
    request: Request,
    place: KeyPlace<PendingWrite<Request, Answer, Prepared>>,
    joinable: boolean,
    behind?: PendingWrite<Request, Answer, Prepared>,
  ): PendingWrite<Request, Answer, Prepared> {
    const { bounds, clock } = this.#options;
    const nowMs = clock.monotonic();
    const write = new PendingWrite<Request, Answer, Prepared>(callers, request, place, joinable, nowMs);
    this.#byKey.add(write, behind);
    const full = this.#waiting.size >= bounds.maxWaiting && behind === undefined;
    this.#enter(write, full ? 'outside' : 'queued');
    if (!this.#sweeping) this.#sweepLater();
    return write;
  }

  /** The one place where a write's state changes. */
  #enter(write: PendingWrite<Request, Answer, Prepared>, state: WriteState): void {
    const wasOutside = write.state === 'outside';
    write.state = state;
    switch (state) {
      case 'outside':
        this.#outside.add(write);
        return;
      case 'queued':
        this.#waiting.add(write);
        if (!this.#options.preparesInTurn || write.earlier === undefined) this.#enter(write, 'preparing');
        return;
      case 'prepared':
        return;
      case 'preparing': {
        const preparing = this.prepare(write.request, write.prepared);
        if (preparing instanceof Promise) void this.#asked(write, preparing);
        else this.#prepared(write, preparing);
        return;
      }
      case 'ready':
        this.#ready.push(write);
        this.#schedule();
        return;
      case 'taken':
        this.#leave(wasOutside ? this.#outside : this.#waiting, write);
        return;
      case 'done': {
        this.#leave(wasOutside ? this.#outside : this.#waiting, write);
        const first = this.#byKey.delete(write);
        if (first?.state === 'queued') this.#enter(first, 'preparing');
        else if (first?.state === 'prepared') this.#enter(first, 'ready');
      }
    }
  }

  async #asked(write: PendingWrite<Request, Answer, Prepared>, preparing: Promise<Prepared>): Promise<void> {
    try {
      this.#prepared(write, await preparing);
    } catch (error) {
      if (write.state === 'preparing') this.fail(write, error as Error);
    }
  }

  #prepared(write: PendingWrite<Request, Answer, Prepared>, prepared: Prepared): void {
    if (write.state !== 'preparing') {
      // The write ran out of time while it was being prepared.
      this.abandon(write.key, prepared, undefined);
      return;
    }
    write.prepared = prepared;
    this.#enter(write, write.earlier === undefined ? 'ready' : 'prepared');
  }

  /** A place inside that becomes free is for the oldest outside. */
  #leave(
    list: LinkedList<PendingWrite<Request, Answer, Prepared>>,
    write: PendingWrite<Request, Answer, Prepared>,
  ): void {
    const next = this.#outside.first;
    if (!list.delete(write) || list === this.#outside || next === undefined) return;
    this.#outside.delete(next);
    this.#enter(next, 'queued');
  }

  #schedule(): void {
    if (this.#scheduled || this.#inFlight >= this.#options.bounds.maxInFlight) return;
    this.#scheduled = true;
    process.nextTick(this.#start);
  }

  readonly #start = (): void => {
    this.#scheduled = false;
    while (this.#ready.length > 0 && this.#inFlight < this.#options.bounds.maxInFlight) {
      const batch = this.#take();
      if (batch.length === 0) return;
      this.#inFlight++;
      void this.commit(batch).then(() => {
        this.#inFlight--;
        if (this.#ready.length > 0) this.#schedule();
      });
    }
  };

  /** The next batch, within its bounds; its writes can't be joined any more. */
  #take(): PendingWrite<Request, Answer, Prepared>[] {
    const { maxBytes, maxRows } = this.#options.bounds;
    const batch = Array.of<PendingWrite<Request, Answer, Prepared>>();
    let bytes = 0;
    let index = 0;
    for (; index < this.#ready.length && batch.length < maxRows; index++) {
      const write = this.#ready[index] as PendingWrite<Request, Answer, Prepared>;
      if (write.state !== 'ready') continue;
      if (batch.length > 0 && bytes + write.request.bytes > maxBytes) break;
      bytes += write.request.bytes;
      batch.push(write);
      this.#enter(write, 'taken');
    }
    this.#ready.splice(0, index);
    return batch;
  }

  // Ends of writes that were in a batch.

  /** The write is committed, or never will be: the key's next write has its turn. Callers are answered separately. */
  protected end(write: PendingWrite<Request, Answer, Prepared>): void {
    this.#enter(write, 'done');
  }

  protected fail(write: PendingWrite<Request, Answer, Prepared>, error: Error): void {
    if (write.prepared !== undefined) this.abandon(write.key, write.prepared, error);
    this.#enter(write, 'done');
    this.reject(write, error);
  }

  /** `earlier`: what each caller gets whose request became part of the last one, by its place. */
  protected answer(
    { callers }: PendingWrite<Request, Answer, Prepared>,
    last: Answer,
    earlier: (place: number) => Answer = () => last,
  ): void {
    const end = callers.length - 1;
    for (let place = 0; place < end; place++)
      (callers[place] as Caller<Request, Answer>).resolve(earlier(place));
    callers[end]?.resolve(last);
  }

  protected reject({ callers }: PendingWrite<Request, Answer, Prepared>, error: Error): void {
    for (const caller of callers) caller.reject(error);
  }

  /** Prepares the write once more, for another batch. */
  protected again(write: PendingWrite<Request, Answer, Prepared>): void {
    this.#enter(write, 'preparing');
  }

  /**
   * A merged write that was refused fails its own caller only; the others go again without it, before the key's
   * next: where the last one's request stood for all, without that, and where it was a sum, in two halves.
   */
  protected refuse(write: PendingWrite<Request, Answer, Prepared>, error: LockstepError): void {
    const { callers, key, prepared, request } = write;
    const last = callers.at(-1);
    if (!(error instanceof StoreRefusedError) || callers.length === 1) {
      this.fail(write, error);
      return;
    }
    this.abandon(key, prepared as Prepared, error);
    if (request === last?.request) {
      last.reject(error);
      this.#again(callers.slice(0, -1), write);
    } else {
      const middle = callers.length >> 1;
      const firstHalf = this.#again(callers.slice(0, middle), write);
      this.#again(callers.slice(middle), firstHalf);
    }
    this.#enter(write, 'done');
  }

  /** Requests that were merged before, without the others; nothing joins them any more. */
  #again(
    callers: Callers<Request, Answer>,
    behind: PendingWrite<Request, Answer, Prepared>,
  ): PendingWrite<Request, Answer, Prepared> {
    const requests = callers.map(({ request }) => request);
    const request = requests.reduce((earlier, later) => this.merged(earlier, later) as Request);
    return this.#add(callers, request, behind.place, false, behind);
  }

  /** The oldest of all that wait. */
  get #oldest(): PendingWrite<Request, Answer, Prepared> | undefined {
    const { first } = this.#waiting;
    const { first: outside } = this.#outside;
    if (first === undefined || outside === undefined) return first ?? outside;
    // One that goes again is younger than those outside.
    return first.createdAtMs <= outside.createdAtMs ? first : outside;
  }

  /** One timer for all: writes wait in the order in which they came. */
  #sweepLater(): void {
    const { bounds, clock } = this.#options;
    const oldest = this.#oldest;
    if (oldest === undefined || bounds.queueTimeoutMs === Number.POSITIVE_INFINITY) return;
    this.#sweeping = true;
    const remainingMs = oldest.createdAtMs + bounds.queueTimeoutMs - clock.monotonic();
    clock.schedule(this.#sweep, Math.max(1, remainingMs));
  }

  readonly #sweep = (): void => {
    this.#sweeping = false;
    const { bounds, clock } = this.#options;
    const limit = clock.monotonic() - bounds.queueTimeoutMs;
    let oldest = this.#oldest;
    while (oldest !== undefined && oldest.createdAtMs <= limit) {
      this.fail(oldest, this.#overloaded(oldest.key));
      oldest = this.#oldest;
    }
    this.#sweepLater();
  };

  #overloaded(key: string): StoreOverloadedError {
    const { bounds, collection } = this.#options;
    return new StoreOverloadedError(
      `collection "${collection}": a write waited longer than ${bounds.queueTimeoutMs} ms for its turn (batch.queueTimeoutMs)`,
      { collection, key },
    );
  }
}
