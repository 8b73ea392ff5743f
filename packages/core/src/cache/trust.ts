import type { CacheAdapter, CacheProbe } from '../contracts/cache.js';
import type { Clock } from '../contracts/clock.js';
import { believedUpTo, type Version } from '../contracts/version.js';
import { CacheUnavailableError } from '../errors.js';
import { sleep } from '../kit/wait.js';
import { withinCacheTime } from './cache-time.js';

export interface TrustOptions {
  readonly adapter: Pick<CacheAdapter, 'probe' | 'primaryOf'>;
  /** The start of the probes' keys. */
  readonly prefix: string;
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly open: () => Promise<void>;
  /** True when all that was changed before the time (by the clock's `monotonic`) has been dealt with. */
  readonly drained: (beforeMs: number) => Promise<boolean>;
  /** Told when a primary's hits are no longer believed, with the reason, and when they are again. */
  readonly onChange: (believed: boolean, primary: string, error: unknown) => void;
}

/** A hit is believed if the last probe that succeeded was sent less than this ago. */
const PROOF_MS = 1_000;
/** The time from one probe to the next while there are reads. */
const RENEW_MS = 400;
const RETRY_MS = 200;
/** The time between looks at the feeds after a recovery, and the longest wait for them. */
const DRAIN_POLL_MS = 100;
const DRAIN_MS = 30_000;

/** The proof that a primary takes invalidations. */
export interface Proof {
  /** The highest version that the primary's clock allows. */
  readonly maxVersion: Version;
  /** See {@link CacheProbe.generation}; empty where it can't be told. */
  readonly generation: string;
}

/** One primary, as this process knows it. */
class Primary implements Proof {
  /** When the last probe that succeeded was sent. */
  provenAtMs = Number.NEGATIVE_INFINITY;
  maxVersion: Version = Number.POSITIVE_INFINITY;
  generation = '';
  /** True from a refusal, or from a proof that ran out behind a failure, to the end of the recovery. */
  lost = false;
  /** When the first probe that succeeded after that was sent. */
  recoveredAtMs: number | undefined = undefined;
}

/**
 * Says whether hits may be believed: only while invalidations work. A server may answer reads and refuse writes;
 * then every reader would get the old row for as long as that lasts. So each process proves it, for each primary,
 * with an invalidation of its own while it reads; the proof is a time, which each hit is held against.
 *
 * When the proof fails, reads go to the store until a probe succeeds and the change feeds show nothing older than
 * that, for at most 30 seconds (nobody may drain them). A process that did not read meanwhile does not know of it:
 * for it the relay's lag is the bound.
 */
export class Trust {
  /** True while hits of one of the primaries would not be believed. */
  anyLost = false;
  readonly #options: TrustOptions;
  readonly #primaries = new Map<string, Primary>();
  /** The primary of a cache that has only one. */
  readonly #only: Primary | undefined;
  #probing: Promise<void> | undefined;
  #nextMs = Number.NEGATIVE_INFINITY;

  constructor(options: TrustOptions) {
    this.#options = options;
    if (options.adapter.primaryOf === undefined) this.#only = this.#primary('');
  }

  /** Called before reads are sent: sends a probe along with them when one is due. */
  due(): void {
    if (this.#probing === undefined && this.#options.clock.monotonic() >= this.#nextMs) this.#probe();
  }

  /** True when a hit of the key would not be believed, whatever it is. */
  isLost(key: string): boolean {
    return this.#of(key).lost;
  }

  /** The proof by which a hit of the key is believed; `undefined`: there is none. `nowMs`: the clock's `monotonic`. */
  proofOf(key: string, nowMs = this.#options.clock.monotonic()): Proof | undefined {
    const primary = this.#of(key);
    return this.#isProven(primary, nowMs) ? primary : undefined;
  }

  /** As `proofOf`, once the probe that is under way has its answer. */
  async prove(key: string): Promise<Proof | undefined> {
    const primary = this.#of(key);
    for (let tries = 0; tries < 2 && !primary.lost && !this.#isProven(primary); tries++) {
      if (this.#probing === undefined) this.#probe();
      await this.#probing;
    }
    return this.proofOf(key);
  }

  /** True when what is known of the keys' primaries is of a probe that was sent then, or later. */
  isKnownSince(keys: readonly string[], sinceMs: number): boolean {
    return keys.every((key) => this.#of(key).provenAtMs >= sinceMs);
  }

  /** A command on the key met a server that refuses to write. */
  refused(key: string, error: CacheUnavailableError): void {
    this.#fail(this.#options.adapter.primaryOf?.(key) ?? '', error);
  }

  #of(key: string): Primary {
    return this.#only ?? this.#primary(this.#options.adapter.primaryOf?.(key) ?? '');
  }

  #primary(name: string): Primary {
    const known = this.#primaries.get(name);
    if (known !== undefined) return known;
    const primary = new Primary();
    this.#primaries.set(name, primary);
    return primary;
  }

  #isProven(primary: Primary, nowMs = this.#options.clock.monotonic()): boolean {
    return !primary.lost && nowMs - primary.provenAtMs < PROOF_MS;
  }

  #probe(): void {
    const { adapter, clock, open, prefix, timeoutMs } = this.#options;
    const sentAtMs = clock.monotonic();
    const asked = open().then(() => adapter.probe(prefix));
    this.#probing = withinCacheTime(clock, asked, timeoutMs, 'the cache did not answer a probe').then(
      (probes) => this.#answered(probes, sentAtMs),
      (error: unknown) => {
        for (const name of this.#primaries.keys()) this.#fail(name, error);
      },
    );
    const done = (): void => {
      this.#probing = undefined;
      this.#nextMs = sentAtMs + (this.anyLost ? RETRY_MS : RENEW_MS);
    };
    this.#probing = this.#probing.then(done, done);
  }

  #answered(probes: ReadonlyMap<string, CacheProbe | Error>, sentAtMs: number): void {
    for (const [name, probe] of probes) {
      if (probe instanceof Error) this.#fail(name, probe);
      else this.#prove(name, probe, sentAtMs);
    }
    // A primary that no probe reached holds no keys any more.
    for (const name of this.#primaries.keys()) {
      if (!probes.has(name) && this.#only === undefined) this.#primaries.delete(name);
    }
    this.#noteLosses();
  }

  #prove(name: string, { generation = '', nowMs }: CacheProbe, sentAtMs: number): void {
    const primary = this.#primary(name);
    primary.provenAtMs = sentAtMs;
    primary.maxVersion = believedUpTo(nowMs);
    primary.generation = generation;
    if (!primary.lost || primary.recoveredAtMs !== undefined) return;
    primary.recoveredAtMs = sentAtMs;
    void this.#recover(name, primary, sentAtMs);
  }

  #fail(name: string, error: unknown): void {
    const primary = this.#primary(name);
    // An unanswered probe proves no loss: the last proof runs out by itself.
    if (!isRefusal(error) && this.#isProven(primary)) return;
    primary.provenAtMs = Number.NEGATIVE_INFINITY;
    primary.recoveredAtMs = undefined;
    if (primary.lost) return;
    primary.lost = true;
    this.#noteLosses();
    this.#options.onChange(false, name, error);
  }

  #noteLosses(): void {
    this.anyLost = [...this.#primaries.values()].some(({ lost }) => lost);
  }

  async #recover(name: string, primary: Primary, recoveredAtMs: number): Promise<void> {
    const { clock, drained, onChange } = this.#options;
    const isCurrent = (): boolean => primary.recoveredAtMs === recoveredAtMs;
    while (isCurrent() && clock.monotonic() - recoveredAtMs < DRAIN_MS) {
      if (await drained(recoveredAtMs).catch(() => false)) break;
      await sleep(clock, DRAIN_POLL_MS);
    }
    if (!isCurrent()) return;
    primary.lost = false;
    this.#noteLosses();
    primary.recoveredAtMs = undefined;
    onChange(true, name, undefined);
  }
}

/** True when the server has answered, and refuses writes. */
function isRefusal(error: unknown): boolean {
  return !(error instanceof CacheUnavailableError) || error.refuses;
}
