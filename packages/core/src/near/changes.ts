/** Counters for the keys of a Lockstep's tags: a quarter of a megabyte, and few keys share one. */
export const TAG_COUNTERS = 65_536;

/** How often keys were told to have changed. Keys may share a counter: a change of one then counts for the other. */
export class KeyChanges {
  readonly #counts: Uint32Array;

  /** @param counters a power of two */
  constructor(counters: number) {
    this.#counts = new Uint32Array(counters);
  }

  of(key: string): number {
    return this.#counts[this.#slotOf(key)] as number;
  }

  changed(key: string): void {
    const slot = this.#slotOf(key);
    this.#counts[slot] = (this.#counts[slot] as number) + 1;
  }

  /** Adds the counters of keys, and what they show now. */
  note(keys: readonly string[], slots: number[], counts: number[]): void {
    for (const key of keys) {
      const slot = this.#slotOf(key);
      slots.push(slot);
      counts.push(this.#counts[slot] as number);
    }
  }

  areAt(slots: readonly number[], counts: readonly number[]): boolean {
    for (let i = 0; i < slots.length; i++) {
      if (this.#counts[slots[i] as number] !== counts[i]) return false;
    }
    return true;
  }

  #slotOf(key: string): number {
    let hash = 0x811c9dc5;
    for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
    return (hash ^ (hash >>> 15)) & (this.#counts.length - 1);
  }
}

/** A table, as far as its entries may be served: those of one that is not kept in step may not. */
export interface Kept {
  readonly suspended: boolean;
}

/** An entry that hangs on more is left to the cache: each read compares all of them. */
const MAX_TAGS = 1_000;

/** The tags that an entry hangs on, how often each was told to have changed before it was read, and whose they are. */
export class NotedTags {
  readonly #changes: KeyChanges;
  readonly #tables: readonly Kept[];
  readonly #slots: number[] = [];
  readonly #counts: number[] = [];
  #ended = false;

  constructor(changes: KeyChanges, tables: readonly Kept[]) {
    this.#changes = changes;
    this.#tables = tables;
  }

  /** Called before the tags are read from the cache. */
  add(keys: readonly string[]): void {
    if (this.size + keys.length > MAX_TAGS) this.end();
    else this.#changes.note(keys, this.#slots, this.#counts);
  }

  /** The entry is not to be kept. */
  end(): void {
    this.#ended = true;
  }

  get size(): number {
    return this.#slots.length;
  }

  /** True while no change of any of them was told, and their tables are kept in step. Hot path. */
  get areCurrent(): boolean {
    if (this.#ended) return false;
    for (let i = 0; i < this.#tables.length; i++) if (this.#tables[i]?.suspended === true) return false;
    return this.#changes.areAt(this.#slots, this.#counts);
  }
}
