import { FactBuffer, factsOf } from '@lockstep/torture';

/**
 * The deletes so far, for processes that come late: the newest version of each product's, and those of which
 * nobody has said how they ended, since their process was killed.
 */
export class DeleteLedger {
  readonly #open = new Map<number, number>();
  readonly #versions = new Map<number, { readonly version: number; readonly atMs: number }>();

  add(facts: Float64Array): void {
    for (const { kind, index, version, atMs } of factsOf(facts)) {
      if (kind === 'delete-begun') this.#count(index, 1);
      else if (kind === 'delete-ended') this.#count(index, -1);
      else if (kind === 'delete' || kind === 'late-delete') {
        if (version > (this.#versions.get(index)?.version ?? 0)) this.#versions.set(index, { version, atMs });
      }
    }
  }

  /** The deletes that it knows, as facts. */
  facts(): Float64Array {
    const buffer = new FactBuffer();
    for (const [index, count] of this.#open) {
      for (let i = 0; i < count; i += 1) buffer.add('delete-begun', index, 0, 0);
    }
    for (const [index, { version, atMs }] of this.#versions) buffer.add('late-delete', index, version, atMs);
    return buffer.take();
  }

  #count(index: number, by: number): void {
    const count = (this.#open.get(index) ?? 0) + by;
    if (count > 0) this.#open.set(index, count);
    else this.#open.delete(index);
  }
}
