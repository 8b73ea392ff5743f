import { isDeepStrictEqual } from 'node:util';
import type { ViewComparison } from '../contracts/views.js';
import { callerSleep } from '../kit/wait.js';
import type { ViewRead } from './context.js';
import type { ViewReadContext } from './view-loader.js';

/**
 * Loads beside the cache, and compares what readers get with it, as both come out of the cache. A difference counts only
 * if the tags stay as they are for `settleMs`: a write may be committed whose tags are not replaced yet.
 */
export async function compareWithStore<Params, Value>(
  { cache, clock, codec, loader, tagTokens }: ViewReadContext<Params, Value>,
  asked: ViewRead<Params>,
  settleMs: number,
): Promise<ViewComparison<Value>> {
  const { cacheKey, key, tags } = asked;
  const now = await tagTokens.ask(tags);
  const hit = await cache.read(cacheKey, codec.serializer.encoding);
  if (now === undefined || hit === undefined) return { outcome: 'absent' };
  const cached = await tagTokens.decoded(asked, hit, now);
  if (!cached.ok) return { outcome: 'absent' };
  const value = await loader.load(asked);
  const payload = await codec.encode(now, undefined, value, key, hit.version);
  const carried = await tagTokens.decoded(asked, { ...hit, payload }, now);
  const loaded = carried.ok ? carried.value : value;
  if (isDeepStrictEqual(cached.value, loaded)) return { outcome: 'same' };
  await callerSleep(clock, settleMs);
  const found = codec.open(hit, key, now);
  const still = found.ok && (await tagTokens.isStill(asked, now, found.found));
  return still ? { outcome: 'different', cached: cached.value, loaded } : { outcome: 'changing' };
}
