import type { CacheAdapter, ScannedEntry } from '../contracts/cache.js';
import type {
  CacheCommand,
  CacheHit,
  CacheReply,
  PayloadEncoding,
  ReplyOf,
} from '../contracts/cache-commands.js';
import type { Clock } from '../contracts/clock.js';
import type { LockstepEventMap } from '../contracts/events.js';
import { CacheUnavailableError, messageOf } from '../errors.js';
import { Batcher, nextImmediate, nextTick } from '../kit/batcher.js';
import { Breaker } from '../kit/breaker.js';
import { withTimeout } from '../kit/wait.js';
import type { EventHub } from '../runtime/events.js';
import { MAX_BATCH_BYTES, payloadBytes, ReadSizes } from './payload-bytes.js';
import { Trust } from './trust.js';

/** Whoever waits for an answer of the cache. */
interface Pending<Answer> {
  /** Called once, never at once. Must not throw. */
  answered(answer: Answer | CacheUnavailableError): void;
}

/** A class, as the one below, for the reason that `write/pending-write.ts` gives. */
class PendingRead implements Pending<CacheHit | undefined> {
  readonly key: string;
  readonly promise: Promise<CacheHit | undefined>;
  #resolve: (hit: CacheHit | undefined) => void = () => undefined;
  #reject: (error: Error) => void = () => undefined;

  constructor(key: string) {
    this.key = key;
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  answered(answer: CacheHit | undefined | CacheUnavailableError): void {
    if (answer instanceof Error) this.#reject(answer);
    else this.#resolve(answer);
  }
}

class PendingCommand implements Pending<CacheReply> {
  readonly command: CacheCommand;
  readonly answered: (answer: CacheReply | CacheUnavailableError) => void;

  constructor(command: CacheCommand, answered: PendingCommand['answered']) {
    this.command = command;
    this.answered = answered;
  }
}

export interface CacheClientOptions {
  /** The start of the keys that are the client's own. */
  readonly prefix: string;
  /** True when all that was changed before the time (by the clock's `monotonic`) has been dealt with. */
  readonly drained: (beforeMs: number) => Promise<boolean>;
  readonly timeoutMs: number;
  readonly breaker: { readonly threshold: number; readonly cooldownMs: number };
  readonly clock: Clock;
  readonly events: EventHub;
}

const MAX_BATCH = 512;
/** Of reads, and of commands; more wait for these to be answered, and their time-out has not begun. */
const MAX_IN_FLIGHT = 2_048;
const MAX_WAITING = 100_000;

/**
 * The cache as the engine calls it: what is asked for in one turn of the event loop travels in one
 * round trip, every call is bounded in time, a burst waits for its turn rather than being refused by an adapter
 * that has enough to do, and a cache that keeps failing is left alone for a while.
 * Whatever goes wrong arrives as `CacheUnavailableError`.
 */
export class CacheClient {
  readonly #adapter: CacheAdapter;
  readonly #options: CacheClientOptions;
  readonly #breaker: Breaker;
  readonly #reads: Readonly<Record<PayloadEncoding, Batcher<PendingRead>>>;
  readonly #commands: Batcher<PendingCommand>;
  /** Reads not yet sent, so that a key asked for twice in one turn is read once. */
  readonly #unsent: Record<PayloadEncoding, Map<string, PendingRead>> = {
    utf8: new Map(),
    binary: new Map(),
  };
  readonly #sizes: Readonly<Record<PayloadEncoding, ReadSizes>> = {
    utf8: new ReadSizes(),
    binary: new ReadSizes(),
  };
  /** Whether what is read may be believed. */
  readonly trust: Trust;
  #opening: Promise<void> | undefined;
  #opened = false;
  #circuit: BreakerState = 'closed';
  #believed = true;
  #told: BreakerState = 'closed';

  constructor(adapter: CacheAdapter, options: CacheClientOptions) {
    this.#adapter = adapter;
    this.#options = options;
    this.#breaker = new Breaker(options.breaker, (state, error) => {
      this.#circuit = state;
      this.#tell(error);
    });
    const { clock, drained, events, prefix, timeoutMs } = options;
    this.trust = new Trust({
      adapter,
      prefix,
      clock,
      drained,
      timeoutMs,
      open: () => this.open(),
      onChange: (believed, primary, error) => {
        if (adapter.primaryOf === undefined) {
          this.#believed = believed;
          this.#tell(error);
        } else events.breaker.emit({ state: believed ? 'closed' : 'open', primary, ...reasonOf(error) });
      },
    });
    const tick = adapter.local ? nextTick : nextImmediate;
    // A lone call starts at once; with others under way it is worth a turn's wait to join its neighbours.
    const shape = {
      tick,
      idleTick: nextTick,
      maxItems: MAX_BATCH,
      maxItemsInFlight: MAX_IN_FLIGHT,
      maxBytes: MAX_BATCH_BYTES,
    };
    const reads = (encoding: PayloadEncoding): Batcher<PendingRead> => {
      const sizes = this.#sizes[encoding];
      return new Batcher({
        ...shape,
        bytesOf: () => sizes.expected,
        run: (items) => this.#runReads(items, encoding),
      });
    };
    this.#reads = { utf8: reads('utf8'), binary: reads('binary') };
    this.#commands = new Batcher({
      ...shape,
      bytesOf: ({ command }) => payloadBytes(command),
      run: (items) => this.#runCommands(items),
    });
  }

  /** Circuit and trust as one. */
  #tell(error: unknown): void {
    const state = this.#believed ? this.#circuit : 'open';
    if (state === this.#told) return;
    this.#told = state;
    this.#options.events.breaker.emit({ state, ...(state === 'open' ? reasonOf(error) : {}) });
  }

  /** What the cache says is there, or `undefined`: a miss. `trust` says whether to believe it. */
  read(key: string, encoding: PayloadEncoding): Promise<CacheHit | undefined> {
    const unsent = this.#unsent[encoding];
    const same = unsent.get(key);
    if (same !== undefined) return same.promise;
    if (unsent.size >= MAX_WAITING) return Promise.reject(overloaded());
    const pending = new PendingRead(key);
    unsent.set(key, pending);
    this.#reads[encoding].add(pending);
    return pending.promise;
  }

  /** Runs one transition. */
  run<C extends CacheCommand>(command: C): Promise<ReplyOf<C>> {
    return new Promise<ReplyOf<C>>((resolve, reject) => {
      this.send(command, (answer) => (answer instanceof Error ? reject(answer) : resolve(answer)));
    });
  }

  /** Runs one transition without a promise of its own: `answered` is called once, never at once, and must not throw. */
  send<C extends CacheCommand>(
    command: C,
    answered: (answer: ReplyOf<C> | CacheUnavailableError) => void,
  ): void {
    const pending = new PendingCommand(command, answered as PendingCommand['answered']);
    if (this.#commands.waiting < MAX_WAITING) this.#commands.add(pending);
    else queueMicrotask(() => pending.answered(overloaded()));
  }

  /** Runs many transitions; a failed one is an `Error` in its place. */
  runMany(commands: readonly CacheCommand[]): Promise<(CacheReply | Error)[]> {
    return Promise.all(commands.map((command) => this.run(command).catch((error: Error) => error)));
  }

  async #runReads(items: PendingRead[], encoding: PayloadEncoding): Promise<void> {
    this.trust.due();
    const unsent = this.#unsent[encoding];
    // Mostly these are all. A table whose keys come and go costs more than a new one (`docs/performance.md`).
    if (unsent.size === items.length) this.#unsent[encoding] = new Map();
    else for (const item of items) unsent.delete(item.key);
    const sizes = this.#sizes[encoding];
    const read = (): Promise<readonly (CacheHit | undefined | Error)[]> =>
      this.#adapter.read(
        items.map((item) => item.key),
        encoding,
      );
    const answers = await this.#settle(items, read, () => sizes.late(items.length));
    if (answers !== undefined) sizes.answered(answers);
  }

  async #runCommands(items: PendingCommand[]): Promise<void> {
    const run = (): Promise<readonly (CacheReply | Error)[]> =>
      this.#adapter.execute(items.map((item) => item.command));
    const replies = await this.#settle(items, run, undefined, (error) => {
      for (const { command } of items) this.#noteRefusal(command, error);
    });
    if (replies === undefined || !replies.some((reply) => reply instanceof Error)) return;
    for (let i = 0; i < items.length; i++)
      this.#noteRefusal((items[i] as PendingCommand).command, replies[i]);
  }

  /** Who meets a cache that refuses writes need not wait for the probe. */
  #noteRefusal({ key }: CacheCommand, reply: unknown): void {
    if (reply instanceof CacheUnavailableError && reply.refuses) this.trust.refused(key, reply);
  }

  /** `undefined`: nothing was answered. */
  async #settle<Answer>(
    items: readonly Pending<Answer>[],
    call: () => Promise<readonly (Answer | Error)[]>,
    late?: () => void,
    failed?: (error: CacheUnavailableError) => void,
  ): Promise<readonly (Answer | Error)[] | undefined> {
    let answers: readonly (Answer | Error)[] | undefined;
    try {
      await this.#breaker.execute(async () => {
        answers = await this.#bounded(call, late);
        const away = awayOf(answers);
        // So that the breaker counts it.
        if (away !== undefined) throw away;
      });
    } catch (error) {
      if (answers === undefined) {
        const cause = unavailable(this.#breaker.causeOf(error));
        failed?.(cause);
        for (const item of items) item.answered(cause);
        return undefined;
      }
    }
    for (let i = 0; i < items.length; i++) {
      const answer = answers?.[i] as Answer | Error;
      items[i]?.answered(answer instanceof Error ? unavailable(answer) : answer);
    }
    return answers;
  }

  /** One call within its bound. */
  #bounded<Answer>(
    call: () => Promise<readonly (Answer | Error)[]>,
    late?: () => void,
  ): Promise<readonly (Answer | Error)[]> {
    const { clock, timeoutMs } = this.#options;
    return withTimeout(clock, this.#opened ? call() : this.open().then(call), timeoutMs, () => {
      late?.();
      return new CacheUnavailableError(`the cache did not answer within ${timeoutMs} ms`);
    });
  }

  /** All entries under a prefix, as the adapter's scan gives them. */
  async *scan(prefix: string, encoding: PayloadEncoding): AsyncIterable<ScannedEntry> {
    await this.open();
    yield* this.#adapter.scan(prefix, encoding);
  }

  /** Connects, at most once at a time. Rejects with what the adapter says. */
  open(): Promise<void> {
    if (this.#opened) return Promise.resolve();
    this.#opening ??= (this.#adapter.open?.() ?? Promise.resolve()).then(
      () => {
        this.#opened = true;
      },
      (error: unknown) => {
        this.#opening = undefined;
        throw error;
      },
    );
    return this.#opening;
  }
}

/** What another release has written there is that one's to change, or the queue's and the feed's to wait for. */
export function foreignEntry(key: string): CacheUnavailableError {
  return new CacheUnavailableError(`the entry at "${key}" is of a format that this release does not know`, {
    key,
  });
}

type BreakerState = LockstepEventMap['breaker']['state'];

/** The error of a cache that is away, or refuses: not one of which at least one command was answered. */
function awayOf(answers: readonly unknown[]): CacheUnavailableError | undefined {
  const [first] = answers;
  if (!(first instanceof CacheUnavailableError)) return undefined;
  return answers.every((answer) => answer instanceof CacheUnavailableError) ? first : undefined;
}

function reasonOf(error: unknown): { readonly cause?: string; readonly error?: unknown } {
  if (error === undefined) return {};
  return { cause: error instanceof Error ? error.message : String(error), error };
}

function overloaded(): CacheUnavailableError {
  return new CacheUnavailableError(`more than ${MAX_WAITING} calls wait for the cache`);
}

function unavailable(error: unknown): CacheUnavailableError {
  if (error instanceof CacheUnavailableError) return error;
  const message = messageOf(error);
  return new CacheUnavailableError(`the cache can't be reached: ${message}`, { cause: error });
}
