import type { Version } from '@lockstep/core';

/** How old a version may be when its write shows up in the stream, in ms, and still count as fresh. */
export const FRESH_MS = 10_000;

/**
 * The last versions of rows, as far back as there is room. It tells a write that stamped a new version
 * from one that put an old copy of the document back, version included: the stream shows only what the
 * field holds now.
 */
export class VersionMemory {
  /** Versions that this process has just given and that the stream will show. */
  readonly #expected = new Map<string, Version>();
  readonly #versions = new Map<string, { readonly version: Version; readonly atMs: number }>();
  readonly #max: number;
  /** Everything since then is remembered. */
  #sinceMs: number;

  constructor(max: number, sinceMs: number) {
    this.#max = max;
    this.#sinceMs = sinceMs;
  }

  remember(row: string, version: Version, atMs: number): void {
    const last = this.#versions.get(row);
    if (last !== undefined) this.#versions.delete(row);
    this.#versions.set(row, { version: Math.max(version, last?.version ?? 0), atMs });
    if (this.#versions.size <= this.#max) return;
    for (const [oldest, { atMs: forgottenMs }] of this.#versions) {
      this.#versions.delete(oldest);
      this.#sinceMs = Math.max(this.#sinceMs, forgottenMs);
      return;
    }
  }

  /** Says that the stream will show a bump of our own, so that it is not taken for another's write. */
  expect(row: string, version: Version): void {
    this.#expected.set(row, version);
    if (this.#expected.size <= this.#max) return;
    for (const oldest of this.#expected.keys()) {
      this.#expected.delete(oldest);
      return;
    }
  }

  /** True for the bump that was announced. It shows up once: the same version again is a copy. */
  takeExpected(row: string, version: Version): boolean {
    return this.#expected.get(row) === version && this.#expected.delete(row);
  }

  /** The highest version of the row that was remembered. */
  last(row: string): Version | undefined {
    return this.#versions.get(row)?.version;
  }

  /**
   * True where a write at `atMs` of a row that is not remembered stamped this version: one stamped since everything is
   * remembered is new, an older one is a copy. Where it can't be told the answer is no: the row gets one more
   * version, which costs a miss.
   */
  isFresh(version: Version, atMs: number): boolean {
    const stampedMs = version / 1000;
    return Math.abs(atMs - stampedMs) <= FRESH_MS && stampedMs > this.#sinceMs;
  }
}
