import { FaultError } from '../faults/injector.js';
import { type FaultName, isFaultName } from '../faults/names.js';
import type { PageContent } from './content.js';

/** How long a button's fault lasts, in ms. */
const BUTTON_MS = 3_000;
const BURST = { forMs: 10_000, writesFactor: 5, leastWrites: 300 } as const;
/** How long a press waits for a refusal, in ms: a fault that was not refused by then has begun. */
const REFUSAL_MS = 50;

export type ButtonName = FaultName | 'burst';

export function isButtonName(name: string): name is ButtonName {
  return name === 'burst' || isFaultName(name);
}

/** The actions of the page's buttons. */
export class Buttons {
  readonly #content: PageContent;
  #burst: NodeJS.Timeout | undefined;
  #keepData = false;
  #midWrite = true;

  constructor(content: PageContent) {
    this.#content = content;
  }

  /** Resolves with what was begun. Rejects with `FaultError` when it can't be done now. */
  async press(name: ButtonName, id: number | undefined): Promise<object> {
    const { faults } = this.#content.shop;
    if (name === 'burst') return this.#startBurst();
    if (name === 'foreign-write') {
      const written = await faults.foreignWrite(id);
      if (written === undefined) throw new FaultError(`there is no product ${id ?? 'of that number'}`);
      return written;
    }
    const done = faults.inject({ name, forMs: BUTTON_MS, variant: this.#variant(name) });
    await Promise.race([done, new Promise((resolve) => setTimeout(resolve, REFUSAL_MS))]);
    return { name, forMs: BUTTON_MS };
  }

  stop(): void {
    clearTimeout(this.#burst);
  }

  /** In turn: Redis back empty and with its data, an application killed inside a write and at any moment. */
  #variant(name: FaultName): boolean {
    if (name === 'redis-kill') {
      this.#keepData = !this.#keepData;
      return !this.#keepData;
    }
    if (name !== 'app-kill') return false;
    this.#midWrite = !this.#midWrite;
    return !this.#midWrite;
  }

  async #startBurst(): Promise<object> {
    const { shop, rates } = this.#content;
    if (this.#burst !== undefined) throw new FaultError('a burst is under way');
    const writesPerSecond = Math.max(BURST.leastWrites, rates.writesPerSecond * BURST.writesFactor);
    this.#burst = setTimeout(() => {
      this.#burst = undefined;
      void shop.applications.load(rates).catch(() => undefined);
    }, BURST.forMs);
    await shop.applications.load({ ...rates, writesPerSecond });
    return { name: 'burst', forMs: BURST.forMs, writesPerSecond };
  }
}
