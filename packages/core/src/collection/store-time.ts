import { StoreTimeoutError } from '../errors.js';
import { withTimeout } from '../kit/wait.js';
import type { CollectionContext } from './context.js';

/** The adapter's own bound comes first, since its error says more. */
const GRACE_MS = 250;

/** The answer of a store's call, which ends in bounded time even where the adapter does not keep to `timeoutMs`. */
export function withinStoreTime<T>(
  { clock, settings }: Pick<CollectionContext<never>, 'clock' | 'settings'>,
  answer: Promise<T>,
): Promise<T> {
  const { name: collection, storeTimeoutMs } = settings;
  return withTimeout(clock, answer, storeTimeoutMs + GRACE_MS, () => {
    const message = `collection "${collection}": no answer within ${storeTimeoutMs} ms`;
    return new StoreTimeoutError(message, { collection });
  });
}
