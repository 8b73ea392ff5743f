import type { Change, ConsumerState, Version } from '@lockstep/core';

type Dealt = Pick<Change, 'source' | 'key' | 'version'>;

/** Rows of each of two generations; older ones are forgotten, which costs one invalidation each. */
const GENERATION = 25_000;

/**
 * Versions that this process has dealt with, so that its own reader need not report them: under one state of the
 * registry, and to be found under that one only. Two tables that
 * only grow, the older one dropped whole: one whose rows come and go is dear to collect.
 */
export class Acknowledged {
  #young = new Map<string, Version>();
  #old: ReadonlyMap<string, Version> = new Map();
  /** The last state that was asked for, and its name: most calls come under the same. */
  #state: ConsumerState | undefined;
  #prefix = '';

  add({ source, key, version }: Dealt, under: ConsumerState | undefined): void {
    const row = this.#name(source, key, under);
    if (this.#version(row) >= version) return;
    if (this.#young.size >= GENERATION && !this.#young.has(row)) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(row, version);
  }

  /**
   * True when the row's version, or a later one, was dealt with.
   *
   * @param exactly this very version: what an earlier change replaced is named by values that no later writer knows
   */
  has({ source, key, version }: Dealt, under: ConsumerState | undefined, exactly = false): boolean {
    const dealt = this.#version(this.#name(source, key, under));
    return exactly ? dealt === version : dealt >= version;
  }

  /** One JSON text before the key: no two states and keys meet. */
  #name(source: string, key: string, under: ConsumerState | undefined): string {
    if (under === undefined || under !== this.#state) {
      this.#state = under;
      this.#prefix = under === undefined ? '' : JSON.stringify([under.consumer, under.revision, under.epoch]);
    }
    return `${this.#prefix}${JSON.stringify(source)}${key}`;
  }

  #version(row: string): Version {
    return this.#young.get(row) ?? this.#old.get(row) ?? -1;
  }
}
