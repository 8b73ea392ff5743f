import { isRefusal, type LockstepError, StoreRefusedError, StoreUnavailableError } from '../errors.js';

/**
 * The error of a transaction that was rolled back since a statement had failed, whatever its body made of that: a refusal
 * where the store refused the statement, so that nobody takes it for an outage and tries again.
 */
export function rolledBackBy(failure: unknown): LockstepError {
  const message = 'a statement of the transaction failed, so it was rolled back';
  if (!isRefusal(failure)) return new StoreUnavailableError(message, 'not-committed', { cause: failure });
  const { mayDependOnOthers, noRow } = failure as Partial<StoreRefusedError>;
  return new StoreRefusedError(`${message}: ${failure.message}`, {
    cause: failure,
    key: failure.key,
    collection: failure.collection,
    ...(mayDependOnOthers !== undefined && { mayDependOnOthers }),
    ...(noRow !== undefined && { noRow }),
  });
}
