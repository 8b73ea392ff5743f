import type { CacheAdapter } from '../contracts/cache.js';
import type { NearBounds, NearOptions } from '../contracts/near.js';
import type { Consistency } from '../contracts/options.js';
import { InvalidOptionError } from '../errors.js';
import { HOUR_MS, type OptionsOf, option, type Settings } from '../kit/options.js';

const MAX_STALE_MS = 1_000;
/** A ping needs a third of the time there and back. */
const MIN_STALE_MS = 10;

export const NEAR_BOUNDS = {
  maxItems: option.integer(undefined, 1, 10_000_000),
  maxBytes: option.integer(undefined, 1_024, 2 ** 40),
  maxStaleMs: option.integer(undefined, MIN_STALE_MS, HOUR_MS),
} satisfies OptionsOf<NearBounds>;

export const NEAR = {
  ...NEAR_BOUNDS,
  validate: option.flag(false),
} satisfies OptionsOf<NearOptions>;

export interface NearSettings extends Settings<typeof NEAR> {
  readonly maxStaleMs: number;
}

interface Excluding {
  readonly consistency: Consistency;
  readonly near: Settings<typeof NEAR> | undefined;
  readonly tags: readonly (string | readonly string[])[] | undefined;
}

/** Throws `InvalidOptionError` where near entries are not bounded, or something excludes them. */
export function nearSettings(
  { consistency, near, tags = [] }: Excluding,
  cache: CacheAdapter,
  where: string,
): NearSettings | undefined {
  if (near === undefined) return undefined;
  const excluded = exclusion(consistency === 'strict', near.validate, tags.length > 0, cache);
  if (excluded !== undefined) throw new InvalidOptionError(`${where}.near`, excluded);
  checkBounded(near, where);
  if (near.validate && near.maxStaleMs !== undefined) {
    const problem = 'goes without validate, which serves nothing late';
    throw new InvalidOptionError(`${where}.near.maxStaleMs`, problem);
  }
  return { ...near, maxStaleMs: near.maxStaleMs ?? MAX_STALE_MS };
}

/** As `nearSettings`, of a view. `strict`: rows of a strict collection that it depends on. */
export function nearViewSettings(
  near: Settings<typeof NEAR_BOUNDS>,
  strict: string | undefined,
  cache: CacheAdapter,
  where: string,
): NearSettings {
  const excluded = exclusion(strict !== undefined, false, false, cache);
  const named = strict === undefined ? '' : ` (${strict})`;
  if (excluded !== undefined) throw new InvalidOptionError(`${where}.near`, excluded + named);
  checkBounded(near, where);
  return { ...near, validate: false, maxStaleMs: near.maxStaleMs ?? MAX_STALE_MS };
}

function checkBounded({ maxBytes, maxItems }: Settings<typeof NEAR_BOUNDS>, where: string): void {
  if (maxItems === undefined && maxBytes === undefined)
    throw new InvalidOptionError(`${where}.near`, 'must have a bound: maxItems, maxBytes, or both');
}

function exclusion(
  strict: boolean,
  validate: boolean,
  hasTags: boolean,
  cache: CacheAdapter,
): string | undefined {
  if (strict)
    return 'serves what others have changed for up to maxStaleMs, which consistency "strict" excludes';
  if (validate && hasTags)
    return 'asks for the version alone (validate), which does not tell that a tag of the row was ended';
  if (validate && cache.readHeads === undefined)
    return `needs a cache that reads versions without values (validate), which ${cache.name} does not`;
  if (!validate && cache.watchChanges === undefined)
    return `needs a cache that tells of changes, which ${cache.name} does not`;
  return undefined;
}
