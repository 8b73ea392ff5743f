import type { CacheCommand, CacheHit } from '../contracts/cache-commands.js';

/** The payloads of one message to the cache, or from it: what a server answers well within any time-out. */
export const MAX_BATCH_BYTES = 2 ** 20;

/** Reads, late ones not counted, that the average of sizes remembers. */
const REMEMBERED = 64;

export function payloadBytes(command: CacheCommand): number {
  return 'payload' in command ? (command.payload?.length ?? 0) : 0;
}

/**
 * How much a read brings, as far as one can tell beforehand: the average of late. A batch that was not answered in
 * time may have been too much to ask for, so the next one asks for half as many.
 */
export class ReadSizes {
  #average = 0;

  /** In bytes; text counts by its length. */
  get expected(): number {
    return this.#average;
  }

  answered(hits: readonly (CacheHit | undefined | Error)[]): void {
    let bytes = 0;
    for (const hit of hits) {
      if (hit !== undefined && !(hit instanceof Error)) bytes += hit.payload?.length ?? 0;
    }
    this.#average = (this.#average * REMEMBERED + bytes) / (REMEMBERED + hits.length);
  }

  late(reads: number): void {
    this.#average = Math.max(this.#average, (2 * MAX_BATCH_BYTES) / reads);
  }
}
