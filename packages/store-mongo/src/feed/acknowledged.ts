import type { Change, Version } from '@lockstep/core';
import { rowName } from './events.js';

/** The most rows remembered; older ones are forgotten, which costs one invalidation each. */
const MAX_ROWS = 50_000;

/** Versions that this process has dealt with, so that its own reader need not report them. */
export class Acknowledged {
  readonly #versions = new Map<string, Version>();

  add({ source, key, version }: Pick<Change, 'source' | 'key' | 'version'>): void {
    const row = rowName(source, key);
    const known = this.#versions.get(row);
    if (known !== undefined && known >= version) return;
    this.#versions.delete(row);
    this.#versions.set(row, version);
    if (this.#versions.size <= MAX_ROWS) return;
    for (const oldest of this.#versions.keys()) {
      this.#versions.delete(oldest);
      return;
    }
  }

  has({ source, key, version }: Pick<Change, 'source' | 'key' | 'version'>): boolean {
    return (this.#versions.get(rowName(source, key)) ?? -1) >= version;
  }
}
