import type { Change, Version } from '@lockstep/core';
import { rowName } from './events.js';

/** Rows of each of two generations; older ones are forgotten, which costs one invalidation each. */
const GENERATION = 25_000;

/**
 * Versions that this process has dealt with, so that its own reader need not report them. Two tables that
 * only grow, the older one dropped whole: one whose rows come and go is dear to collect.
 */
export class Acknowledged {
  #young = new Map<string, Version>();
  #old: ReadonlyMap<string, Version> = new Map();

  add({ source, key, version }: Pick<Change, 'source' | 'key' | 'version'>): void {
    const row = rowName(source, key);
    if (this.#version(row) >= version) return;
    if (this.#young.size >= GENERATION && !this.#young.has(row)) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(row, version);
  }

  has({ source, key, version }: Pick<Change, 'source' | 'key' | 'version'>): boolean {
    return this.#version(rowName(source, key)) >= version;
  }

  #version(row: string): Version {
    return this.#young.get(row) ?? this.#old.get(row) ?? -1;
  }
}
