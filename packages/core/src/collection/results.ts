import type { CacheOutcome, WriteResult } from '../contracts/api.js';
import type { StoreCommand } from '../contracts/store.js';
import { NO_VERSION, type Version } from '../contracts/version.js';
import {
  ConflictError,
  LockstepError,
  PartialWriteError,
  StoreContractError,
  StoreRefusedError,
} from '../errors.js';
import { mayHaveCommitted } from '../read/loader.js';
import type { Codec } from '../values/codec.js';
import type { Answer } from '../write/store-commit.js';

const NOTHING: WriteResult<never> = {
  value: null,
  version: NO_VERSION,
  cache: 'updated',
  store: 'committed',
  coalesced: false,
};

/**
 * The result that one command's caller gets. Throws `ConflictError` where `ifVersion` did not hold, and
 * `StoreRefusedError` where there is no row to increment or patch.
 */
export function commandResult<Value>(
  collection: string,
  command: StoreCommand<Value>,
  { outcome, cache, coalesced, store }: Answer<Value>,
): WriteResult<Value> {
  if (outcome.kind === 'written') {
    // Callers keep results for long, and each would keep its row: see `pending-write.ts`. A copy of an object is none of a literal.
    return { ...NOTHING, value: outcome.value, version: outcome.version, cache, store, coalesced };
  }
  const { key } = command;
  if (outcome.kind === 'missing' && (command.kind === 'increment' || command.kind === 'patch')) {
    throw noRow(collection, key, command.kind);
  }
  if (outcome.kind !== 'conflict') return { value: null, version: NO_VERSION, cache, store, coalesced };
  const ifVersion = 'ifVersion' in command ? command.ifVersion : undefined;
  throw conflictOf(collection, key, ifVersion, outcome.version);
}

/** A result that holds a row of the store's, with the row as the collection's schema shows it. */
export async function seen<Value, Found extends { readonly value: Value | null }>(
  codec: Codec<Value>,
  found: Found,
): Promise<Found> {
  if (!codec.hasSchema || found.value === null) return found;
  return { ...found, value: await codec.seen(found.value) };
}

export function noRow(collection: string, key: string, what: 'increment' | 'patch'): StoreRefusedError {
  return new StoreRefusedError(`collection "${collection}": no row "${key}" to ${what}`, {
    collection,
    key,
    noRow: true,
  });
}

export function conflictOf(
  collection: string,
  key: string,
  ifVersion: Version | null | undefined,
  version: Version,
): ConflictError {
  const expected = ifVersion === null ? 'no row' : `version ${ifVersion}`;
  const found = version === NO_VERSION ? 'something else' : `version ${version}`;
  const message = `collection "${collection}", key "${key}": expected ${expected}, found ${found}`;
  return new ConflictError(message, { collection, key });
}

/** The results of many writes. Throws `PartialWriteError` unless all succeeded. */
export function manyResults<Result>(
  collection: string,
  results: readonly PromiseSettledResult<Result>[],
): Result[] {
  const failed = results.filter((result) => result.status === 'rejected');
  const [first] = failed;
  if (first === undefined) return results.map((result) => (result as PromiseFulfilledResult<Result>).value);
  const unknown = failed.filter(({ reason }) => isUnknown(reason)).length;
  const counts = counted(failed.length - unknown, unknown, results.length);
  const message = `collection "${collection}": ${counts}: ${String(first.reason)}`;
  throw new PartialWriteError(message, results, { cause: first.reason, collection });
}

/** True when a write that rejected with this may be committed, as one that its caller's signal ended may. */
function isUnknown(reason: unknown): boolean {
  const foreign = !(reason instanceof LockstepError);
  return foreign || reason instanceof StoreContractError || mayHaveCommitted(reason);
}

/** Says how many of a call's writes were not written, and of how many nobody knows. */
function counted(notWritten: number, unknown: number, all: number): string {
  if (unknown === 0) return `${notWritten} of ${all} were not written`;
  const doubtful = `${unknown} of ${all} may have been written, or not`;
  return notWritten === 0 ? doubtful : `${notWritten} of ${all} were not written, ${doubtful}`;
}

const SEVERITY: readonly CacheOutcome[] = ['updated', 'invalidated', 'queued', 'deferred'];

/** The outcome of many invalidations: that of the one which fared worst. */
export function worstOf(outcomes: readonly CacheOutcome[]): CacheOutcome {
  const worst = Math.max(SEVERITY.indexOf('invalidated'), ...outcomes.map((each) => SEVERITY.indexOf(each)));
  return SEVERITY[worst] as CacheOutcome;
}
