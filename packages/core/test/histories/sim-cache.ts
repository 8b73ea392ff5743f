import type { CacheAdapter, CacheCommand, CacheReply } from '../../src/contracts/cache.js';
import { applyCommand, type Entry, hitOf, type Transition } from '../../src/protocol/entry.js';
import type { Scheduler } from './scheduler.js';

export type Apply = (entry: Entry, command: CacheCommand, nowMs: number) => Transition;

export interface SimCacheOptions {
  readonly scheduler: Scheduler;
  /** The transitions; a mutant takes a rule out. */
  readonly apply?: Apply;
  /** The chance that a message is lost on its way, or its reply, or that it arrives twice. */
  readonly faults: number;
  /** Whether entries may be evicted. */
  readonly evicts: boolean;
}

/**
 * A cache across a network that delays, reorders, loses and repeats: a command's arrival and its reply
 * are events of their own, so that it may take effect long after its caller gave up.
 */
export class SimCache {
  readonly entries = new Map<string, Entry>();
  readonly adapter: CacheAdapter;
  readonly #options: SimCacheOptions;
  /** While true, faults don't happen: for the drain at the end. */
  calm = false;

  constructor(options: SimCacheOptions) {
    this.#options = options;
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
      info: async () => ({ evicts: options.evicts, generation: undefined, description: 'simulated' }),
      async *scan() {},
      close: async () => undefined,
    };
  }

  live(key: string): Entry {
    const entry = this.entries.get(key);
    return entry !== undefined && entry.expiresAtMs <= this.#options.scheduler.clock.now()
      ? undefined
      : entry;
  }

  evict(): void {
    if (this.calm || !this.#options.evicts || this.entries.size === 0) return;
    this.entries.delete(this.#options.scheduler.pick([...this.entries.keys()]));
  }

  async #travel(): Promise<void> {
    await this.#options.scheduler.deliver();
    if (this.#fault()) await this.#lost();
  }

  async #execute(command: CacheCommand): Promise<CacheReply> {
    if (this.#fault()) void this.#options.scheduler.deliver().then(() => this.#apply(command));
    await this.#travel();
    const reply = this.#apply(command);
    await this.#travel();
    return reply;
  }

  #apply(command: CacheCommand): CacheReply {
    const { apply = applyCommand, scheduler } = this.#options;
    const { entry, reply } = apply(this.entries.get(command.key), command, scheduler.clock.now());
    if (entry === undefined) this.entries.delete(command.key);
    else this.entries.set(command.key, entry);
    return reply;
  }

  #fault(): boolean {
    return !this.calm && this.#options.scheduler.chance(this.#options.faults);
  }

  /** Never answers: the caller's time-out ends the wait. */
  #lost(): Promise<never> {
    return new Promise(() => undefined);
  }
}
