import type { TransactionMode } from '../contracts/transaction-mode.js';
import { UnsupportedError } from '../errors.js';
import { type OptionsOf, option } from '../kit/options.js';

/** Among the options of every call that opens a transaction. */
export const MODE = {
  isolation: option.choice(['read committed', 'repeatable read', 'serializable'], undefined),
  readOnly: option.flag(undefined),
  deferrable: option.flag(undefined),
} satisfies OptionsOf<TransactionMode>;

export function modeOf({ deferrable, isolation, readOnly }: TransactionMode): TransactionMode {
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
