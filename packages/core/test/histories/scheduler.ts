import type { CancelTimer, Clock } from '../../src/contracts/clock.js';

/** A small, good generator of pseudo-random numbers (mulberry32), so that a seed replays a run. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

interface Timer {
  readonly atMs: number;
  readonly order: number;
  readonly callback: () => void;
}

/**
 * Runs a world one event at a time, in an order drawn from a seed: messages are delivered in any order,
 * and time stands still unless it is advanced to the next timer.
 */
export class Scheduler {
  readonly random: () => number;
  readonly clock: Clock;
  /** Counts events: the history's time. */
  step = 0;
  #nowMs = 1_700_000_000_000;
  #messages: (() => void)[] = [];
  #timers: Timer[] = [];
  #order = 0;

  constructor(seed: number) {
    this.random = seeded(seed);
    this.clock = {
      now: () => this.#nowMs,
      monotonic: () => this.#nowMs,
      schedule: (callback, delayMs) => this.#schedule(callback, delayMs),
    };
  }

  #schedule(callback: () => void, delayMs: number): CancelTimer {
    const timer = { atMs: this.#nowMs + delayMs, order: this.#order++, callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  chance(probability: number): boolean {
    return this.random() < probability;
  }

  pick<T>(items: readonly T[]): T {
    return items[Math.floor(this.random() * items.length)] as T;
  }

  /** Resolves when the scheduler delivers it: later, and in any order with the others. */
  deliver(): Promise<void> {
    return new Promise((resolve) => this.#messages.push(resolve));
  }

  /** Runs until `done`, or throws: nothing may hang. `between` runs before each event. */
  async run(done: () => boolean, between: () => void = () => undefined, maxSteps = 20_000): Promise<void> {
    await settle();
    while (!done()) {
      if (this.step++ > maxSteps) throw new Error(`not done after ${maxSteps} events`);
      between();
      // What has put something off to the next turn of the event loop may come behind the last look.
      if (this.#isOver) await settle();
      if (this.#isOver) throw new Error('nothing left to happen, and not done');
      const stuck = this.#messages.length === 0;
      if (stuck || (this.#timers.length > 0 && this.chance(0.03))) this.#advance();
      else {
        const [message] = this.#messages.splice(Math.floor(this.random() * this.#messages.length), 1);
        message?.();
      }
      await settle();
    }
  }

  /** Runs until the work is over. */
  async until<T>(work: Promise<T>, between?: () => void, maxSteps?: number): Promise<T> {
    let over = false;
    const end = (): void => {
      over = true;
    };
    work.then(end, end);
    await this.run(() => over, between, maxSteps);
    return await work;
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.clock.schedule(resolve, ms);
    });
  }

  get #isOver(): boolean {
    return this.#messages.length === 0 && this.#timers.length === 0;
  }

  #advance(): void {
    const next = this.#timers.reduce((a, b) =>
      b.atMs < a.atMs || (b.atMs === a.atMs && b.order < a.order) ? b : a,
    );
    this.#timers = this.#timers.filter((timer) => timer !== next);
    this.#nowMs = Math.max(this.#nowMs, next.atMs);
    next.callback();
  }
}

/** Lets everything run that waits for no event. */
function settle(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
