import type { CacheAdapter } from '../../src/contracts/cache.js';
import type { CacheCommand, CacheReply } from '../../src/contracts/cache-commands.js';
import { CacheUnavailableError } from '../../src/errors.js';
import { type Entry, hitOf, type Transition } from '../../src/protocol/entry.js';
import { applyCommand } from '../../src/protocol/transitions.js';
import type { Scheduler } from './scheduler.js';
import { type Holds, SimChanges } from './sim-changes.js';
import { SimIndex } from './sim-index.js';

function refusal(): CacheUnavailableError {
  return new CacheUnavailableError('NOREPLICAS', { refuses: true });
}

/** Longer than anybody waits for it. */
const LATE_MS = 200;

export type Apply = (entry: Entry, command: CacheCommand, nowMs: number) => Transition;

export interface SimCacheOptions {
  readonly scheduler: Scheduler;
  /** The transitions; a mutant takes a rule out. */
  readonly apply?: Apply;
  /** The chance that a message is lost on its way, or its reply, or that it arrives twice. */
  readonly faults: number;
  /** Whether entries may be evicted. */
  readonly evicts: boolean;
  /** Whether even those may be that the store does not have yet. @defaultValue false */
  readonly evictsUnflushed?: boolean;
  /** Whether it says that it has kept everything, whatever it lost. @defaultValue false */
  readonly hidesLosses?: boolean | undefined;
  /** What becomes of a message about a change; a control loses some unseen. @defaultValue it goes its way */
  readonly tells?: ((key: string) => boolean) | undefined;
  /** How messages about changes are held up. */
  readonly holds?: Holds | undefined;
  /** How far its clock is ahead of the scheduler's, in ms. @defaultValue 0 */
  readonly skewMs?: number;
}

/**
 * A cache across a network that delays, reorders, loses and repeats: a command's arrival and its reply
 * are events of their own, so that it may take effect long after its caller gave up.
 */
export class SimCache {
  readonly entries = new Map<string, Entry>();
  readonly adapter: CacheAdapter;
  readonly #options: SimCacheOptions;
  readonly index: SimIndex;
  readonly #changes: SimChanges;
  /** While true, faults don't happen: for the drain at the end. */
  calm = false;
  /** While true, it answers reads and refuses writes. */
  refuses = false;
  #keptSinceMs = Number.NEGATIVE_INFINITY;

  constructor(options: SimCacheOptions) {
    this.#options = options;
    this.index = new SimIndex(
      () => this.#travel(),
      () => this.#now(),
    );
    this.#changes = new SimChanges(options.scheduler, () => this.#fault(), options.holds);
    this.adapter = {
      name: 'sim',
      shared: true,
      local: true,
      read: async (keys) => {
        await this.#travel();
        const hits = keys.map((key) => hitOf(this.live(key)));
        await this.#travel();
        return hits;
      },
      execute: (commands) => Promise.all(commands.map((command) => this.#execute(command))),
      info: async () => ({
        evicts: options.evicts,
        evictsPersistent: false,
        generation: undefined,
        description: 'simulated',
      }),
      // At once and never lost: whether hits are believed is the subject of a world of its own.
      probe: async () => {
        if (this.refuses) throw refusal();
        return new Map([['', { generation: undefined, nowMs: this.#now() }]]);
      },
      kept: async () => {
        await this.#travel();
        const keptMs = options.hidesLosses ? Number.POSITIVE_INFINITY : this.#now() - this.#keptSinceMs;
        await this.#travel();
        return new Map([['', keptMs]]);
      },
      async *scan() {},
      watchChanges: (_, listener) => this.#changes.watch(listener),
      unflushed: this.index,
      close: async () => undefined,
    };
  }

  live(key: string): Entry {
    const entry = this.entries.get(key);
    return entry !== undefined && entry.expiresAtMs <= this.#now() ? undefined : entry;
  }

  /** The server is killed and comes back with nothing. */
  restart(): void {
    if (this.calm) return;
    this.entries.clear();
    this.#keptSinceMs = this.#now();
    this.#changes.breakAll();
  }

  evict(): void {
    const { evicts, evictsUnflushed, scheduler } = this.#options;
    if (this.calm || !evicts) return;
    const keys = [...this.entries].flatMap(([key, entry]) =>
      evictsUnflushed !== true && entry?.kind === 'value' && entry.unflushed ? [] : [key],
    );
    if (keys.length === 0) return;
    const key = scheduler.pick(keys);
    this.entries.delete(key);
    this.#tell(key);
  }

  async #travel(): Promise<void> {
    await this.#options.scheduler.deliver();
    if (this.#fault()) await this.#lost();
  }

  async #execute(command: CacheCommand): Promise<CacheReply> {
    if (this.#fault()) {
      // An adapter's side of the contract: a buffered write is not sent twice. It may come long after its time.
      if (command.kind === 'buffer') return await this.#late(command);
      void this.#options.scheduler.deliver().then(() => this.refuses || this.#apply(command));
    }
    await this.#travel();
    if (this.refuses) throw refusal();
    const reply = this.#apply(command);
    await this.#travel();
    return reply;
  }

  async #late(command: CacheCommand): Promise<never> {
    const { clock, random } = this.#options.scheduler;
    clock.schedule(() => this.#apply(command), LATE_MS + random() * LATE_MS);
    return await this.#lost();
  }

  #apply(command: CacheCommand): CacheReply {
    const { apply = applyCommand } = this.#options;
    const { entry, reply } = apply(this.entries.get(command.key), command, this.#now());
    if (entry === undefined) this.entries.delete(command.key);
    else this.entries.set(command.key, entry);
    this.#tell(command.key);
    return reply;
  }

  #tell(key: string): void {
    const { tells = () => true } = this.#options;
    if (tells(key)) this.#changes.tell(key);
  }

  #now(): number {
    return this.#options.scheduler.clock.now() + (this.#options.skewMs ?? 0);
  }

  #fault(): boolean {
    return !this.calm && this.#options.scheduler.chance(this.#options.faults);
  }

  /** Never answers: the caller's time-out ends the wait. */
  #lost(): Promise<never> {
    return new Promise(() => undefined);
  }
}
