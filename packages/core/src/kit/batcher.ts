import type { Clock } from '../contracts/clock.js';
import type { Breaker } from './breaker.js';
import { Timeouts } from './timeouts.js';

/** Told the answer to one request, once, never at once. Must not throw. `nowMs`: the clock's `monotonic`. */
export type Answered<Answer> = (answer: Answer | Error, nowMs: number) => void;

export interface BatcherOptions<Request, Answer> {
  /** Makes one call for many requests, and answers position by position. */
  readonly call: (requests: readonly Request[]) => Promise<readonly (Answer | Error)[]>;
  /** The most requests of one call. */
  readonly maxItems: number;
  /**
   * `never`: requests wait for others of the same tick only. `always`: for all that the event loop receives in this
   * turn. `busy`: for those while a call is under way, since one round trip less gains more than the wait costs; but not
   * once half a call's worth waits: whoever is called has work to do while more is received.
   */
  readonly waitsForTurn: 'always' | 'busy' | 'never';
  /** The most calls under way at once. @defaultValue no limit */
  readonly maxInFlight?: number;
  /** No call starts while so many requests are under way. @defaultValue no limit */
  readonly maxItemsInFlight?: number;
  /** The most bytes of a call of more than one request. @defaultValue no limit */
  readonly maxBytes?: number;
  /** No call starts while so many bytes are under way. @defaultValue twice `maxBytes` */
  readonly maxBytesInFlight?: number;
  /** Requests that wait; more are refused. @defaultValue no limit */
  readonly maxWaiting?: number;
  /** A request that equals one that waits is not sent, and shares its answer. @defaultValue false */
  readonly merges?: boolean;
  readonly clock: Clock;
  /**
   * A call's answer that comes later is dropped: its requests are answered with `late(requests)`.
   *
   * @defaultValue the call bounds itself
   */
  readonly timeoutMs?: number;
  readonly late?: (requests: readonly Request[]) => Error;
  /** Spares what keeps failing. @defaultValue none */
  readonly breaker?: Breaker;
  /** The failure that the breaker counts although there are answers. @defaultValue none */
  readonly failureOf?: (answers: readonly (Answer | Error)[]) => unknown;
  /** The error that requests are answered with, for whatever went wrong. */
  readonly errorOf: (error: unknown) => Error;
  /** Told of the answers of each call before its requests are. Must not throw. */
  readonly ended?: (
    requests: readonly Request[],
    answers: readonly (Answer | Error)[],
    durationMs: number,
  ) => void;
}

// Classes and `Array.of`, not literals: one old object here would keep a whole batch's callers alive
// (`docs/performance.md`).

/** The callers that wait for the answer to one request. */
class Caller<Answer> {
  readonly answered: Answered<Answer>;
  /** Callers that asked the same while it waited. */
  others: Answered<Answer>[] | undefined = undefined;

  constructor(answered: Answered<Answer>) {
    this.answered = answered;
  }
}

/** Requests that travel in one call. */
class Batch<Request, Answer> {
  readonly requests: Request[];
  readonly callers: Caller<Answer>[] = Array.of();
  bytes: number;
  /** Told all answers, in place of callers. */
  readonly answered: ((answers: readonly (Answer | Error)[]) => void) | undefined;

  constructor(requests: Request[], bytes: number, answered?: (answers: readonly (Answer | Error)[]) => void) {
    this.requests = requests;
    this.bytes = bytes;
    this.answered = answered;
  }
}

/**
 * Lets what is asked for at the same time travel together, in calls that are bounded in number, size and time. A
 * lone request starts in the same tick; while as much is under way as may be, requests wait and join the next call.
 * A batch of requests stays together, in parts of the size that calls have. First come, first sent.
 */
export class Batcher<Request, Answer> {
  /** The bytes of a request, for `maxBytes`, unless the caller says. */
  bytesEach = 0;
  readonly #options: BatcherOptions<Request, Answer>;
  /** In the order in which they are sent. */
  #queue: Batch<Request, Answer>[] = [];
  /** The last one of the queue, if it takes more. */
  #open: Batch<Request, Answer> | undefined;
  /** The callers of requests that wait, where they merge. */
  #callers = new Map<Request, Caller<Answer>>();
  #waiting = 0;
  #inFlight = 0;
  #itemsInFlight = 0;
  #bytesInFlight = 0;
  #isFull = false;
  /** When `#start` runs. */
  #scheduled: 'not' | 'in this turn' | 'in this tick' = 'not';
  readonly #timeouts: Timeouts | undefined;

  constructor(options: BatcherOptions<Request, Answer>) {
    this.#options = options;
    const { clock, timeoutMs } = options;
    if (timeoutMs !== undefined) this.#timeouts = new Timeouts(clock, timeoutMs);
  }

  /** Requests that were not sent yet. */
  get waiting(): number {
    return this.#waiting;
  }

  /** @param bytes what it weighs in `maxBytes` */
  add(request: Request, answered: Answered<Answer>, bytes = this.bytesEach): void {
    const { maxBytes = Number.POSITIVE_INFINITY, maxItems, maxWaiting, merges } = this.#options;
    const same = merges ? this.#callers.get(request) : undefined;
    if (same !== undefined) {
      same.others ??= [];
      same.others.push(answered);
      return;
    }
    if (maxWaiting !== undefined && this.#waiting >= maxWaiting) {
      queueMicrotask(() => answered(this.#overloaded(), this.#options.clock.monotonic()));
      return;
    }
    let open = this.#open;
    if (open === undefined || open.requests.length >= maxItems || open.bytes + bytes > maxBytes) {
      open = new Batch<Request, Answer>(Array.of(), 0);
      this.#open = open;
      this.#queue.push(open);
    }
    const caller = new Caller(answered);
    open.requests.push(request);
    open.callers.push(caller);
    open.bytes += bytes;
    this.#waiting++;
    if (merges) this.#callers.set(request, caller);
    if (this.#scheduled === 'in this tick' || this.#isFull) return;
    const { waitsForTurn } = this.#options;
    if (waitsForTurn === 'always' || (waitsForTurn === 'busy' && this.#inFlight > 0 && !this.#isHalf(open))) {
      if (this.#scheduled === 'not') setImmediate(this.#start);
      this.#scheduled = 'in this turn';
    } else {
      process.nextTick(this.#start);
      this.#scheduled = 'in this tick';
    }
  }

  #isHalf(open: Batch<Request, Answer>): boolean {
    const { maxBytes = Number.POSITIVE_INFINITY, maxItems } = this.#options;
    return 2 * this.#waiting >= maxItems || 2 * open.bytes >= maxBytes;
  }

  /** As `add`, for who awaits the answer. Rejects with what it is answered with, where that is an error. */
  ask(request: Request, bytes?: number): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.add(request, (answer) => (answer instanceof Error ? reject(answer) : resolve(answer)), bytes);
    });
  }

  /**
   * As `add`, for many, whose answers come together: they wait for no neighbours, and are merged with nothing. Never
   * rejects.
   *
   * @param bytesOf as `bytes` of `add`
   */
  addMany(
    requests: readonly Request[],
    bytesOf?: (request: Request) => number,
  ): Promise<readonly (Answer | Error)[]> {
    const { maxBytes = Number.POSITIVE_INFINITY, maxItems, maxWaiting } = this.#options;
    if (requests.length === 0) return Promise.resolve([]);
    if (maxWaiting !== undefined && this.#waiting + requests.length > maxWaiting) {
      return Promise.resolve(new Array<Error>(requests.length).fill(this.#overloaded()));
    }
    const parts: Promise<readonly (Answer | Error)[]>[] = [];
    let from = 0;
    let bytes = 0;
    const close = (end: number): void => {
      const [part, weight] = [requests.slice(from, end), bytes];
      parts.push(new Promise((answered) => this.#queue.push(new Batch(part, weight, answered))));
      from = end;
      bytes = 0;
    };
    for (let i = 0; i < requests.length; i++) {
      const more = bytesOf === undefined ? this.bytesEach : bytesOf(requests[i] as Request);
      if (i > from && (i - from === maxItems || bytes + more > maxBytes)) close(i);
      bytes += more;
    }
    close(requests.length);
    this.#open = undefined;
    this.#waiting += requests.length;
    if (this.#scheduled === 'not') this.#start();
    const [first, ...others] = parts as [Promise<readonly (Answer | Error)[]>];
    return others.length === 0 ? first : Promise.all(parts).then((all) => all.flat());
  }

  #overloaded(): Error {
    return this.#options.errorOf(new Error(`more than ${this.#options.maxWaiting} requests wait`));
  }

  // Sending.

  readonly #start = (): void => {
    this.#scheduled = 'not';
    const { breaker, call, clock, merges } = this.#options;
    while (this.#queue.length > 0 && !this.#isFull) {
      const batch = this.#queue.shift() as Batch<Request, Answer>;
      const { requests } = batch;
      this.#waiting -= requests.length;
      if (batch === this.#open) this.#open = undefined;
      if (merges && batch.answered === undefined) {
        // Mostly the batch holds all that waits. A new map costs less than one whose keys come and go (`docs/performance.md`).
        if (this.#callers.size === requests.length) this.#callers = new Map();
        else for (const request of requests) this.#callers.delete(request);
      }
      if (breaker !== undefined && breaker.state !== 'closed' && !breaker.admits()) {
        this.#answer(batch, undefined, breaker.lastError, clock.monotonic());
        continue;
      }
      let answers: Promise<readonly (Answer | Error)[]>;
      try {
        answers = Promise.resolve(call(requests));
      } catch (error) {
        answers = Promise.reject(error);
      }
      this.#await(batch, answers);
    }
  };

  /** Awaits a call's answers, in bounded time. */
  #await(batch: Batch<Request, Answer>, answering: Promise<readonly (Answer | Error)[]>): void {
    const { breaker, clock, failureOf, late } = this.#options;
    const startedAtMs = clock.monotonic();
    this.#count(batch, 1);
    let over = false;
    const end = (answers: readonly (Answer | Error)[] | undefined, error: unknown): void => {
      if (over) return;
      over = true;
      if (timeout !== undefined) this.#timeouts?.end(timeout);
      const failure = answers === undefined ? error : failureOf?.(answers);
      if (answers !== undefined && failure === undefined) breaker?.succeeded();
      else breaker?.failed(failure);
      this.#count(batch, -1);
      this.#answer(batch, answers, error, startedAtMs);
      if (this.#queue.length === 0 || this.#scheduled !== 'not' || this.#isFull) return;
      this.#scheduled = 'in this turn';
      setImmediate(this.#start);
    };
    const timeout = this.#timeouts?.begin(() => end(undefined, late?.(batch.requests)), startedAtMs);
    answering.then(
      (answers) =>
        Array.isArray(answers)
          ? end(answers, undefined)
          : end(undefined, new TypeError('no list of answers')),
      (error: unknown) => end(undefined, error),
    );
  }

  #count({ bytes, requests }: Batch<Request, Answer>, sign: 1 | -1): void {
    const { maxBytes = Number.POSITIVE_INFINITY, maxInFlight, maxItemsInFlight } = this.#options;
    const { maxBytesInFlight = 2 * maxBytes } = this.#options;
    this.#inFlight += sign;
    this.#itemsInFlight += sign * requests.length;
    this.#bytesInFlight += sign * bytes;
    this.#isFull =
      (maxInFlight !== undefined && this.#inFlight >= maxInFlight) ||
      (maxItemsInFlight !== undefined && this.#itemsInFlight >= maxItemsInFlight) ||
      this.#bytesInFlight >= maxBytesInFlight;
  }

  /** @param answers `undefined`: there are none, for the reason that `error` gives */
  #answer(
    batch: Batch<Request, Answer>,
    answers: readonly (Answer | Error)[] | undefined,
    error: unknown,
    startedAtMs: number,
  ): void {
    const { clock, ended, errorOf } = this.#options;
    const { callers, requests } = batch;
    let told = answers ?? new Array<Error>(requests.length).fill(errorOf(error));
    if (answers?.some(isError)) told = answers.map((each) => (each instanceof Error ? errorOf(each) : each));
    const nowMs = clock.monotonic();
    ended?.(requests, told, nowMs - startedAtMs);
    if (batch.answered !== undefined) batch.answered(told);
    for (let i = 0; i < callers.length; i++) {
      const { answered, others } = callers[i] as Caller<Answer>;
      answered(told[i] as Answer | Error, nowMs);
      if (others !== undefined) for (const other of others) other(told[i] as Answer | Error, nowMs);
    }
    // The batch may live longer, and would keep the callers alive until a full collection.
    callers.length = 0;
  }
}

function isError(answer: unknown): boolean {
  return answer instanceof Error;
}
