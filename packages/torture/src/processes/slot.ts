import { Child, type ChildOptions } from './child-process.js';

export type Role = 'application' | 'worker';

/** What a process of a run is given, beside the settings of the run. */
export interface Identity {
  readonly role: Role;
  /** Starts every token and every operation's number of this process. */
  readonly name: string;
  readonly seed: number;
}

export interface SlotOptions extends Omit<ChildOptions, 'settings'> {
  readonly role: Role;
  readonly place: number;
  /** Those of every process of the run. */
  readonly settings: object;
  readonly seed: number;
}

/** One place among the processes: whoever works there, and the next one, which is ready to take over. */
export class Slot {
  readonly role: Role;
  readonly #options: SlotOptions;
  readonly #all = new Set<Child>();
  #born = 0;
  #standby: Child;
  #active: Child | undefined;

  constructor(options: SlotOptions) {
    this.role = options.role;
    this.#options = options;
    this.#standby = this.#spawn();
  }

  /** Resolves when a kill would be followed by a restart at once. */
  get ready(): Promise<void> {
    return this.#standby.ready;
  }

  /** Puts the next process to work. */
  async start(): Promise<void> {
    const next = this.#standby;
    await next.ready;
    next.go();
    this.#active = next;
    this.#standby = this.#spawn();
  }

  /** Kills the one at work; the next takes its place. */
  async replace(): Promise<void> {
    this.#active?.kill();
    await this.start();
  }

  /** Ends the one at work in order; resolves with whether it did so in time. */
  async stop(ms: number): Promise<boolean> {
    this.#standby.kill();
    return (await this.#active?.stop(ms)) ?? true;
  }

  async end(): Promise<void> {
    for (const child of this.#all) child.kill();
    await Promise.all([...this.#all].map(({ ended }) => ended));
  }

  #spawn(): Child {
    this.#born++;
    const { entry, listen, place, role, seed, settings } = this.#options;
    const own: Identity = {
      role,
      name: `${role[0]}${place}.${this.#born}`,
      seed: seed * 1_000 + place * 100 + (role === 'worker' ? 50 : 0) + this.#born,
    };
    const child = new Child({ entry, listen, settings: { ...settings, ...own } });
    this.#all.add(child);
    void child.ended.then(() => this.#all.delete(child));
    return child;
  }
}
