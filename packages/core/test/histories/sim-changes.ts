import type { ChangeListener, ChangeWatch } from '../../src/contracts/cache.js';
import type { Scheduler } from './scheduler.js';

/** How likely a message is held up on its way, with all behind it, and for how long at most. */
export interface Holds {
  readonly chance: number;
  readonly maxMs: number;
}

const HOLDS: Holds = { chance: 0.05, maxMs: 150 };
/** The longest time until a process notices that its channel has broken. */
const MAX_UNSEEN_MS = 150;

/** What a server tells of changes: to each watch on a channel of its own, in order, until it breaks. */
export class SimChanges {
  readonly #scheduler: Scheduler;
  readonly #fault: () => boolean;
  readonly #holds: Holds;
  readonly #channels = new Set<SimChannel>();

  /** @param fault drawn for each message: its channel breaks instead */
  constructor(scheduler: Scheduler, fault: () => boolean, holds = HOLDS) {
    this.#scheduler = scheduler;
    this.#fault = fault;
    this.#holds = holds;
  }

  watch(listener: ChangeListener): ChangeWatch {
    const channel = new SimChannel(this.#scheduler, this.#fault, this.#holds, listener);
    this.#channels.add(channel);
    return channel;
  }

  tell(key: string): void {
    for (const channel of this.#channels) channel.tell(key);
  }

  breakAll(): void {
    for (const channel of this.#channels) channel.break();
  }
}

/** One watch's channel. What is under way when it breaks is lost, and so is what happens until it is made again. */
class SimChannel implements ChangeWatch {
  readonly #scheduler: Scheduler;
  readonly #fault: () => boolean;
  readonly #holds: Holds;
  readonly #listener: ChangeListener;
  /** Counts breaks. */
  #broken = 0;
  #isOpen = true;
  /** The delivery of the last message. */
  #last: Promise<void> = Promise.resolve();

  constructor(scheduler: Scheduler, fault: () => boolean, holds: Holds, listener: ChangeListener) {
    this.#scheduler = scheduler;
    this.#fault = fault;
    this.#holds = holds;
    this.#listener = listener;
  }

  add(): void {}

  tell(key: string): void {
    this.#send(() => this.#listener.changed(key));
  }

  async ping(): Promise<void> {
    await this.#scheduler.deliver();
    await new Promise<void>((resolve) => this.#send(resolve));
  }

  break(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#broken++;
    void this.#mend();
  }

  async #mend(): Promise<void> {
    await this.#scheduler.sleep(MAX_UNSEEN_MS * this.#scheduler.random());
    this.#listener.lost();
    await this.#scheduler.deliver();
    this.#isOpen = true;
  }

  #send(arrived: () => void): void {
    if (this.#isOpen && this.#fault()) this.break();
    if (!this.#isOpen) return;
    const broken = this.#broken;
    this.#last = this.#last.then(async () => {
      const { chance, maxMs } = this.#holds;
      if (this.#scheduler.chance(chance)) await this.#scheduler.sleep(maxMs * this.#scheduler.random());
      await this.#scheduler.deliver();
      if (broken === this.#broken) arrived();
    });
  }

  async close(): Promise<void> {}
}
