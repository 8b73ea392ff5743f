import type { TransactionMode } from '../contracts/store.js';
import { InvalidOptionError, UnsupportedError } from '../errors.js';
import { choiceOption } from '../kit/options.js';

export const MODE_OPTIONS: readonly (keyof TransactionMode)[] = ['isolation', 'readOnly', 'deferrable'];

/** The mode among a transaction's options. Throws `InvalidOptionError` naming the option. */
export function transactionMode(options: TransactionMode, where: string): TransactionMode {
  const { deferrable, isolation, readOnly } = options;
  if (isolation !== undefined) {
    const levels = ['read committed', 'repeatable read', 'serializable'] as const;
    choiceOption(isolation, 'read committed', `${where}.isolation`, levels);
  }
  for (const [name, value] of [
    ['readOnly', readOnly],
    ['deferrable', deferrable],
  ] as const) {
    if (value !== undefined && typeof value !== 'boolean') {
      throw new InvalidOptionError(`${where}.${name}`, `must be true or false, got ${String(value)}`);
    }
  }
  return { isolation, readOnly, deferrable };
}

/** Throws `UnsupportedError` for what a store does not have; `false` asks for nothing. */
export function checkTransactionMode(
  mode: TransactionMode,
  isolation: readonly TransactionMode['isolation'][],
  store: string,
): void {
  if (mode.isolation !== undefined && !isolation.includes(mode.isolation)) {
    throw new UnsupportedError(`transaction.isolation: ${store} has no "${mode.isolation}"`);
  }
  for (const name of ['readOnly', 'deferrable'] as const) {
    if (mode[name] === true)
      throw new UnsupportedError(`transaction.${name}: ${store} has no such transactions`);
  }
}
