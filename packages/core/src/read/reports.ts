import type { CacheHit } from '../contracts/cache-commands.js';
import type { LockstepEventMap } from '../contracts/events.js';
import type { MissReason } from '../contracts/outcome.js';
import type { EngineContext } from '../runtime/context.js';
import type { Tally } from '../runtime/tally.js';

/** A collection, or a view, whose reads are counted and told of in events. */
interface Reporting extends Pick<EngineContext, 'clock' | 'events'> {
  readonly settings: { readonly name: string };
  readonly tally: Tally;
}

/** @param startedAtMs when the read began, by the clock's `monotonic` */
export function reportHit(
  { clock, events, settings, tally }: Reporting,
  key: string,
  { staleAtMs, version }: Pick<CacheHit, 'staleAtMs' | 'version'>,
  from: 'near' | 'cache',
  startedAtMs: number,
): void {
  tally.hits++;
  if (!events.hit.wanted) return;
  const stale = staleAtMs > 0 && clock.now() >= staleAtMs;
  const durationMs = clock.monotonic() - startedAtMs;
  events.hit.emit({ collection: settings.name, key, version, from, stale, durationMs });
}

export function reportMiss(
  { clock, events, settings, tally }: Reporting,
  { key, startedAtMs }: { readonly key: string; readonly startedAtMs: number },
  found: MissReason | 'later-shape',
): void {
  const reason = found === 'later-shape' ? 'shape' : found;
  tally.misses[reason]++;
  if (!events.miss.wanted) return;
  const durationMs = clock.monotonic() - startedAtMs;
  events.miss.emit({ collection: settings.name, key, reason, durationMs });
}

export function reportFillRefused(
  { events, settings }: Pick<Reporting, 'events' | 'settings'>,
  key: string,
  reason: LockstepEventMap['fillRefused']['reason'],
): void {
  if (events.fillRefused.wanted) events.fillRefused.emit({ collection: settings.name, key, reason });
}
