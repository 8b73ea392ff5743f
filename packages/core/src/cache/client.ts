import type { CacheAdapter, ScannedEntry } from '../contracts/cache.js';
import type {
  CacheCommand,
  CacheHead,
  CacheHit,
  CacheReply,
  PayloadEncoding,
  ReplyOf,
} from '../contracts/cache-commands.js';
import type { Clock } from '../contracts/clock.js';
import type { LockstepEventMap } from '../contracts/events.js';
import { CacheUnavailableError, messageOf } from '../errors.js';
import { type Answered, Batcher } from '../kit/batcher.js';
import { Breaker } from '../kit/breaker.js';
import type { EventHub } from '../runtime/events.js';
import { averageBytes, MAX_BATCH_BYTES, payloadBytes, READ_BATCH_BYTES } from './payload-bytes.js';
import { Trust } from './trust.js';

/** Reads of versions without values. */
export type CacheHeads = Batcher<string, CacheHead | undefined>;

/** Reads of keys. */
export type CacheReads = Batcher<string, CacheHit | undefined>;

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

/** The most commands of one call. */
const MAX_BATCH = 512;
/** The most keys of one call, for the same reason as {@link READ_BATCH_BYTES}. */
const READ_BATCH = 128;
/** The most reads, and the most commands, under way; more wait, and their time-out begins when they are sent. */
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
  readonly #reads: Readonly<Record<PayloadEncoding, CacheReads>>;
  readonly #commands: Batcher<CacheCommand, CacheReply>;
  /** Reads versions without values, of a cache that has `readHeads`; `undefined`: a miss. */
  readonly heads: CacheHeads;
  /** Says whether a hit may be believed. */
  readonly trust: Trust;
  /** Called with each key that a command may have changed, before the command's caller has the answer; not for commands of kind `tag`. */
  onChange: ((key: string) => void) | undefined;
  #opening: Promise<void> | undefined;
  #opened = false;
  #circuit: BreakerState = 'closed';
  #believed = true;
  #told: BreakerState = 'closed';

  constructor(adapter: CacheAdapter, options: CacheClientOptions) {
    this.#adapter = adapter;
    this.#options = options;
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
    const late = (): CacheUnavailableError =>
      new CacheUnavailableError(`the cache did not answer within ${timeoutMs} ms`);
    const shared = {
      // A lone call starts at once; with others under way it is worth a turn's wait to join its neighbours.
      waitsForTurn: adapter.local ? 'never' : 'busy',
      maxItems: MAX_BATCH,
      maxItemsInFlight: MAX_IN_FLIGHT,
      maxBytes: MAX_BATCH_BYTES,
      maxWaiting: MAX_WAITING,
      clock,
      timeoutMs,
      late,
      breaker: new Breaker({
        ...options.breaker,
        clock,
        onChange: (state, error) => {
          this.#circuit = state;
          this.#tell(error);
        },
      }),
      failureOf: awayOf,
      errorOf: unavailable,
    } as const;
    const reads = (encoding: PayloadEncoding): CacheReads => {
      const batcher: CacheReads = new Batcher({
        ...shared,
        maxItems: READ_BATCH,
        maxBytes: READ_BATCH_BYTES,
        maxBytesInFlight: 2 * MAX_BATCH_BYTES,
        merges: true,
        call: (keys) => {
          const opened = this.#opened;
          const answers = opened
            ? adapter.read(keys, encoding)
            : this.open().then(() => adapter.read(keys, encoding));
          this.trust.due();
          return answers;
        },
        // The answer may have been too large to come in time: the next call asks for half as many keys.
        late: (keys) => {
          batcher.bytesEach = Math.max(batcher.bytesEach, (2 * READ_BATCH_BYTES) / keys.length);
          return late();
        },
        ended: (_, hits) => {
          batcher.bytesEach = averageBytes(batcher.bytesEach, hits);
        },
      });
      return batcher;
    };
    this.#reads = { utf8: reads('utf8'), binary: reads('binary') };
    this.heads = new Batcher<string, CacheHead | undefined>({
      ...shared,
      merges: true,
      call: async (keys) => {
        this.trust.due();
        if (!this.#opened) await this.open();
        return (await adapter.readHeads?.(keys)) ?? [];
      },
    });
    this.#commands = new Batcher<CacheCommand, CacheReply>({
      ...shared,
      call: (commands) =>
        this.#opened ? adapter.execute(commands) : this.open().then(() => adapter.execute(commands)),
      ended: (commands, replies) => {
        this.#noteRefusals(commands, replies);
        if (this.onChange !== undefined) for (const command of commands) this.#tellChange(command);
      },
    });
  }

  /** Circuit and trust as one. */
  #tell(error: unknown): void {
    const state = this.#believed ? this.#circuit : 'open';
    if (state === this.#told) return;
    this.#told = state;
    this.#options.events.breaker.emit({ state, ...(state === 'open' ? reasonOf(error) : {}) });
  }

  /** The batcher that reads keys; `undefined`: a miss. `trust` says whether to believe a hit. */
  reads(encoding: PayloadEncoding): CacheReads {
    return this.#reads[encoding];
  }

  /** As `reads`, of one key. */
  read(key: string, encoding: PayloadEncoding): Promise<CacheHit | undefined> {
    return this.#reads[encoding].ask(key);
  }

  /** Runs one transition. */
  run<C extends CacheCommand>(command: C): Promise<ReplyOf<C>> {
    return this.#commands.ask(command, payloadBytes(command)) as Promise<ReplyOf<C>>;
  }

  /** Runs one transition without a promise of its own: `answered` is called once, never at once, and must not throw. */
  send<C extends CacheCommand>(command: C, answered: Answered<ReplyOf<C>>): void {
    this.#commands.add(command, answered as Answered<CacheReply>, payloadBytes(command));
  }

  /** Gives back a lease, a reservation or an intent, which unanswered runs out by itself. Does not reject. */
  release(key: string, token: string): Promise<unknown> {
    return this.run({ kind: 'release', key, token }).catch(() => undefined);
  }

  /** Runs many transitions, which stay together; a failed one is an `Error` in its place. */
  runMany<C extends CacheCommand>(commands: readonly C[]): Promise<readonly (ReplyOf<C> | Error)[]> {
    const replies: Promise<readonly (CacheReply | Error)[]> = this.#commands.addMany(commands, payloadBytes);
    return replies as Promise<readonly (ReplyOf<C> | Error)[]>;
  }

  #tellChange({ key, kind }: CacheCommand): void {
    if (kind !== 'tag') this.onChange?.(key);
  }

  /** A command that meets a cache which refuses writes says so before the next probe does. */
  #noteRefusals(commands: readonly CacheCommand[], replies: readonly (CacheReply | Error)[]): void {
    for (let i = 0; i < replies.length; i++) {
      const reply = replies[i];
      if (reply instanceof CacheUnavailableError && reply.refuses) {
        this.trust.refused((commands[i] as CacheCommand).key, reply);
      }
    }
  }

  /** All entries under a prefix, as the adapter's scan gives them. */
  async *scan(prefix: string, encoding: PayloadEncoding): AsyncIterable<ScannedEntry> {
    await this.open();
    yield* this.#adapter.scan(prefix, encoding);
  }

  /** True once it was connected, whether it is now or not. */
  get wasOpened(): boolean {
    return this.#opened;
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

/** An entry of another release's format is left to that release; the queue and the feed wait for it. */
export function foreignEntry(cacheKey: string, key = cacheKey): CacheUnavailableError {
  return new CacheUnavailableError(
    `the entry at "${cacheKey}" is of a format that this release does not know`,
    {
      key,
    },
  );
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
  return { cause: messageOf(error), error };
}

function unavailable(error: unknown): CacheUnavailableError {
  if (error instanceof CacheUnavailableError) return error;
  const message = messageOf(error);
  return new CacheUnavailableError(`the cache can't be reached: ${message}`, { cause: error });
}
