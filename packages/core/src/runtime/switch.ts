import type { LockstepStatus, SwitchedOff } from '../contracts/status.js';
import { InvalidOptionError } from '../errors.js';
import type { EventHub } from './events.js';

/** Its value decides whether a process begins with its cache switched off. */
export const DISABLED = 'LOCKSTEP_DISABLED';

const VALUES: Readonly<Record<string, boolean>> = {
  '': false,
  '0': false,
  false: false,
  '1': true,
  true: true,
};

export interface SwitchOptions {
  readonly prefix: string;
  readonly events: EventHub;
  /** The environment's {@link DISABLED}. */
  readonly disabled: string | undefined;
  /** Told once the cache is switched off: what is unflushed gets to the store. */
  readonly onOff: () => void;
}

/**
 * Says whether the cache is used. Off, every read goes to the store; writes go on to invalidate, so that it can be switched on
 * again at any time. A process may switch it off for itself, and the stores' registries for all processes.
 */
export class CacheSwitch {
  /** A field: every read looks at it. */
  off: boolean;
  readonly #options: SwitchOptions;
  /** The sides that have switched it off. */
  readonly #by = new Set<SwitchedOff>();
  /** The registries that say so. */
  readonly #registries = new Set<object>();

  /** Throws `InvalidOptionError` for a value of the environment that is none of its own. */
  constructor(options: SwitchOptions) {
    this.#options = options;
    const { disabled = '' } = options;
    const off = Object.hasOwn(VALUES, disabled) ? VALUES[disabled] : undefined;
    if (off === undefined) {
      throw new InvalidOptionError(
        DISABLED,
        `must be 1 or 0, true or false, got ${JSON.stringify(disabled)}`,
      );
    }
    this.off = off;
    if (off) this.#by.add('process');
    if (off) this.#warn();
  }

  get status(): LockstepStatus {
    return { enabled: !this.off, switchedOff: [...this.#by].sort() };
  }

  /** Throws `InvalidOptionError`. */
  set(by: SwitchedOff, enabled: boolean): void {
    if (typeof enabled !== 'boolean') throw new InvalidOptionError('enabled', 'must be true or false');
    const { events, onOff } = this.#options;
    if (enabled === !this.#by.has(by)) return;
    if (enabled) this.#by.delete(by);
    else this.#by.add(by);
    const changed = this.off !== this.#by.size > 0;
    this.off = this.#by.size > 0;
    events.switch.emit(this.status);
    if (!changed) return;
    this.#warn();
    if (this.off) onOff();
  }

  /** Notes the switch of one registry. */
  recorded(registry: object, off: boolean): void {
    if (off) this.#registries.add(registry);
    else this.#registries.delete(registry);
    this.set('fleet', this.#registries.size === 0);
  }

  #warn(): void {
    const { prefix } = this.#options;
    const by = this.#by.has('fleet') ? 'for all processes' : 'in this process';
    const message = this.off
      ? `the cache of prefix "${prefix}" is switched off ${by}: every read goes to the store`
      : `the cache of prefix "${prefix}" is switched on again`;
    process.emitWarning(message, { type: 'LockstepWarning', code: 'LOCKSTEP_SWITCH' });
  }
}
