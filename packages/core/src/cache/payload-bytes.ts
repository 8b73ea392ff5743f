import type { CacheCommand, CacheHit } from '../contracts/cache-commands.js';

/** The payloads of one message to the cache, or from it: what a server answers well within any time-out. */
export const MAX_BATCH_BYTES = 2 ** 20;

/**
 * The payloads that one call reads. Less than a server could answer: while the client decodes one call's, the server reads
 * the next one's, and callers who have their rows ask again.
 */
export const READ_BATCH_BYTES = 2 ** 18;

/** Reads, late ones not counted, that the average of sizes remembers. */
const REMEMBERED = 64;

export function payloadBytes(command: CacheCommand): number {
  return 'payload' in command ? (command.payload?.length ?? 0) : 0;
}

/** How much a read brings, as far as one can tell beforehand: the average of late. Text counts by its length. */
export function averageBytes(average: number, hits: readonly (CacheHit | undefined | Error)[]): number {
  let bytes = average * REMEMBERED;
  let reads = REMEMBERED;
  for (const hit of hits) {
    if (hit instanceof Error) continue;
    bytes += hit?.payload?.length ?? 0;
    reads++;
  }
  return bytes / reads;
}
