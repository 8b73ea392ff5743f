import type { CacheAdapter } from '../contracts/cache.js';
import type { NearOptions } from '../contracts/near.js';
import type { Consistency } from '../contracts/options.js';
import { InvalidOptionError } from '../errors.js';
import { type OptionsOf, option, type Settings } from '../kit/options.js';

const HOUR_MS = 3_600_000;
/** A ping needs a third of the time there and back. */
const MIN_STALE_MS = 10;

export const NEAR = {
  maxItems: option.integer(undefined, 1, 10_000_000),
  maxBytes: option.integer(undefined, 1_024, 2 ** 40),
  maxStaleMs: option.integer(1_000, MIN_STALE_MS, HOUR_MS),
} satisfies OptionsOf<NearOptions>;

export type NearSettings = Settings<typeof NEAR>;

/** Throws `InvalidOptionError` where near entries are not bounded, or something excludes them. */
export function checkNear(
  { consistency, near }: { readonly consistency: Consistency; readonly near: NearSettings | undefined },
  cache: CacheAdapter,
  where: string,
): void {
  if (near === undefined) return;
  const excluded = exclusion(consistency, cache);
  if (excluded !== undefined) throw new InvalidOptionError(`${where}.near`, excluded);
  if (near.maxItems === undefined && near.maxBytes === undefined) {
    throw new InvalidOptionError(`${where}.near`, 'must have a bound: maxItems, maxBytes, or both');
  }
}

function exclusion(consistency: Consistency, cache: CacheAdapter): string | undefined {
  if (consistency === 'strict')
    return 'serves what others have changed for up to maxStaleMs, which consistency "strict" excludes';
  if (cache.watchChanges === undefined)
    return `needs a cache that tells of changes, which ${cache.name} does not`;
  return undefined;
}
