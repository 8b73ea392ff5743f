import { MAX_BATCH_BYTES } from '../cache/payload-bytes.js';
import type { BufferCommand, CacheReply, Payload } from '../contracts/cache-commands.js';
import type { Clock } from '../contracts/clock.js';
import type { BufferRefusal } from '../contracts/events.js';
import type { Version } from '../contracts/version.js';
import { CacheUnavailableError } from '../errors.js';
import { callerSleep, withTimeout } from '../kit/wait.js';
import type { OpenedCache } from './opened.js';
import type { BurstSettings } from './settings.js';

/** A blind write as the buffer takes it. */
export interface BufferWrite<Value> {
  readonly key: string;
  /** `null`: a deletion. */
  readonly value: Value | null;
  readonly payload: Payload | null;
}

/** An acknowledged one. Of several that were merged all callers get the last one's. */
export interface Buffered<Value> {
  readonly value: Value | null;
  readonly version: Version;
  readonly coalesced: boolean;
  readonly cacheMs: number;
}

interface Waiter<Value> {
  resolve(buffered: Buffered<Value> | undefined): void;
}

interface Unit<Value> {
  write: BufferWrite<Value>;
  readonly waiters: Waiter<Value>[];
  /** Its key's row was loaded into the cache once, because there was nothing to stand on. */
  loaded: boolean;
}

export interface BufferQueueOptions {
  readonly settings: BurstSettings;
  readonly index: string;
  readonly keyPrefix: string;
  readonly cache: OpenedCache;
  readonly clock: Clock;
  /** False while the cache may drop what it must keep. */
  readonly fit: () => boolean;
  /** True while a synchronous write of the key is under way in this process. */
  readonly isBusy: (key: string) => boolean;
  /** Brings the row into the cache. */
  readonly load: (key: string) => Promise<unknown>;
  readonly onBuffered: (keys: readonly { readonly key: string; readonly mark: number }[]) => void;
  readonly onRefused: (key: string, reason: BufferRefusal) => void;
}

const MAX_BATCH = 512;
const MAX_IN_FLIGHT = 2;
const MAX_WAITING = 10_000;
/** How long the buffer is left alone after it could not be reached. */
const AWAY_MS = 1_000;

/**
 * Writes on their way into the buffer: those of one turn travel together, in two round trips, index first.
 * Writes of one key keep their order; those that wait merge into the last. A write that the buffer did not
 * take is answered with `undefined`, once it is certain that it won't be applied any more: its caller then
 * goes to the store.
 */
export class BufferQueue<Value> {
  readonly #options: BufferQueueOptions;
  readonly #waiting = new Map<string, Unit<Value>>();
  /** Keys of the units under way. */
  readonly #underWay = new Set<string>();
  #inFlight = 0;
  #scheduled = false;
  #awayUntilMs = Number.NEGATIVE_INFINITY;

  constructor(options: BufferQueueOptions) {
    this.#options = options;
  }

  /** True while a write of the key is on its way: a later one must not overtake it. */
  has(key: string): boolean {
    return this.#waiting.has(key) || this.#underWay.has(key);
  }

  /** Why nothing more may wait now: too much does, or the cache could not be reached a moment ago. */
  get refusal(): BufferRefusal | undefined {
    if (this.#waiting.size >= MAX_WAITING) return 'full';
    return this.#reachable ? undefined : 'away';
  }

  get #reachable(): boolean {
    return this.#options.clock.monotonic() >= this.#awayUntilMs;
  }

  /** `undefined`: not buffered, and it won't be. */
  offer(write: BufferWrite<Value>): Promise<Buffered<Value> | undefined> {
    return new Promise((resolve) => {
      const unit = this.#waiting.get(write.key);
      if (unit === undefined) {
        this.#waiting.set(write.key, { write, waiters: [{ resolve }], loaded: false });
      } else {
        unit.write = write;
        unit.waiters.push({ resolve });
      }
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#scheduled || this.#inFlight >= MAX_IN_FLIGHT) return;
    this.#scheduled = true;
    process.nextTick(this.#start);
  }

  readonly #start = (): void => {
    this.#scheduled = false;
    while (this.#inFlight < MAX_IN_FLIGHT) {
      const units = this.#take();
      if (units.length === 0) return;
      this.#inFlight++;
      void this.#send(units).then(() => {
        this.#inFlight--;
        if (this.#waiting.size > 0) this.#schedule();
      });
    }
  };

  #take(): Unit<Value>[] {
    const units: Unit<Value>[] = [];
    let bytes = 0;
    for (const [key, unit] of this.#waiting) {
      if (this.#underWay.has(key)) continue;
      bytes += unit.write.payload?.length ?? 0;
      if (units.length > 0 && bytes > MAX_BATCH_BYTES) break;
      this.#waiting.delete(key);
      this.#underWay.add(key);
      units.push(unit);
      if (units.length === MAX_BATCH) break;
    }
    return units;
  }

  async #send(units: readonly Unit<Value>[]): Promise<void> {
    const { fit, isBusy } = this.#options;
    const free: Unit<Value>[] = [];
    for (const unit of units) {
      // A later write must not be numbered before an earlier one that is on its way to the store.
      if (isBusy(unit.write.key)) this.#end(unit, undefined);
      else if (!fit()) this.#refuse(unit, 'evicts');
      else if (!this.#reachable) this.#refuse(unit, 'away');
      else free.push(unit);
    }
    if (free.length > 0) await this.#journal(free);
  }

  async #journal(units: readonly Unit<Value>[]): Promise<void> {
    const { clock, settings } = this.#options;
    const startedAt = clock.monotonic();
    const added = await this.#add(units);
    if (added === undefined) return;
    const sentAt = clock.monotonic();
    const replies = await this.#execute(added.units, added.nowMs + settings.ackTimeoutMs);
    const lost: Unit<Value>[] = [];
    const buffered: { key: string; mark: number }[] = [];
    added.units.forEach((unit, i) => {
      const reply = replies[i];
      if (reply === undefined || reply instanceof Error || reply.kind !== 'buffer') lost.push(unit);
      else if (reply.outcome === 'buffered') {
        buffered.push({ key: unit.write.key, mark: added.marks[i] as number });
        this.#end(unit, { version: reply.version, cacheMs: clock.monotonic() - startedAt });
      } else if (reply.outcome === 'unfit') void this.#unfit(unit);
      else this.#refuse(unit, 'late');
    });
    if (buffered.length > 0) this.#options.onBuffered(buffered);
    if (lost.length > 0) await this.#lose(lost, sentAt);
  }

  /** The index first: it names every unflushed entry, at any instant. */
  async #add(
    units: readonly Unit<Value>[],
  ): Promise<{ units: Unit<Value>[]; marks: number[]; nowMs: number } | undefined> {
    const { cache, index, settings } = this.#options;
    const keys = units.map(({ write }) => write.key);
    try {
      const answer = await this.#bounded(cache.index.add(index, keys, settings.maxUnflushed));
      const taken: Unit<Value>[] = [];
      const marks: number[] = [];
      units.forEach((unit, i) => {
        const mark = answer.marks[i];
        if (mark === undefined) {
          this.#refuse(unit, 'full');
          return;
        }
        taken.push(unit);
        marks.push(mark);
      });
      return taken.length === 0 ? undefined : { units: taken, marks, nowMs: answer.nowMs };
    } catch {
      this.#away();
      for (const unit of units) this.#refuse(unit, 'away');
      return undefined;
    }
  }

  async #execute(
    units: readonly Unit<Value>[],
    notAfterMs: number,
  ): Promise<readonly (CacheReply | Error | undefined)[]> {
    const { cache, keyPrefix, settings } = this.#options;
    const { durable } = settings;
    const commands = units.map(
      ({ write }): BufferCommand => ({
        kind: 'buffer',
        key: keyPrefix + write.key,
        payload: write.payload,
        notAfterMs,
        durable,
      }),
    );
    return await this.#bounded(cache.execute(commands)).catch(() => []);
  }

  /** Unanswered, they may still be applied, up to their deadline: only after it may their callers go on. */
  async #lose(units: readonly Unit<Value>[], sentAtMs: number): Promise<void> {
    const { clock, settings } = this.#options;
    this.#away();
    const deadlineMs = sentAtMs + settings.ackTimeoutMs + settings.maxClockSkewMs;
    await callerSleep(clock, Math.max(0, deadlineMs - clock.monotonic()) + 1);
    for (const unit of units) this.#refuse(unit, 'away');
  }

  /** A write has to know what it stands on: write-behind loads it, once. */
  async #unfit(unit: Unit<Value>): Promise<void> {
    if (!this.#options.settings.always || unit.loaded) {
      this.#refuse(unit, 'unfit');
      return;
    }
    unit.loaded = true;
    await this.#options.load(unit.write.key).catch(() => undefined);
    await this.#send([unit]);
  }

  #away(): void {
    this.#awayUntilMs = this.#options.clock.monotonic() + AWAY_MS;
  }

  #bounded<T>(promise: Promise<T>): Promise<T> {
    const { clock, settings } = this.#options;
    const { ackTimeoutMs } = settings;
    const late = (): Error =>
      new CacheUnavailableError(`the buffer did not answer within ${ackTimeoutMs} ms`);
    return withTimeout(clock, promise, ackTimeoutMs, late);
  }

  #refuse(unit: Unit<Value>, reason: BufferRefusal): void {
    this.#options.onRefused(unit.write.key, reason);
    this.#end(unit, undefined);
  }

  #end(unit: Unit<Value>, answer: { version: Version; cacheMs: number } | undefined): void {
    const { key, value } = unit.write;
    this.#underWay.delete(key);
    const last = unit.waiters.length - 1;
    unit.waiters.forEach(({ resolve }, i) => {
      resolve(answer === undefined ? undefined : { ...answer, value, coalesced: i < last });
    });
    if (this.#waiting.has(key)) this.#schedule();
  }
}
