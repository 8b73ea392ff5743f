import type { RowShape, StoreShape } from '@lockstep/core';
import type { AttachmentWatch } from '../install/watch.js';

/** Documents whose shape nobody has named: their payloads stay as they are, and are earlier than any that has a name. */
const UNNAMED: RowShape = { order: 0, name: '' };

/**
 * A collection's shape, which its user names since nobody knows what documents hold. It is known once the store's
 * registry has given it a number.
 */
export class NamedShape implements StoreShape {
  readonly name: string | undefined;
  readonly #numberOf: (name: string) => Promise<number>;
  #shape: RowShape | undefined;
  readonly #watch: Pick<AttachmentWatch, 'used'>;

  constructor(
    name: string | undefined,
    numberOf: (name: string) => Promise<number>,
    watch: Pick<AttachmentWatch, 'used'>,
  ) {
    this.name = name;
    this.#watch = watch;
    this.#numberOf = numberOf;
    this.#shape = name === undefined ? UNNAMED : undefined;
  }

  /** Asked for each entry that is read or written. */
  current(): RowShape | undefined {
    this.#watch.used = true;
    return this.#shape;
  }

  /** Asks for the shape's number. Rejects with the driver's error. */
  async number(): Promise<void> {
    if (this.name === undefined) return;
    const order = await this.#numberOf(this.name);
    if (this.#shape?.order !== order) this.#shape = { order, name: this.name };
  }

  async renew(): Promise<void> {
    await this.number().catch(() => undefined);
  }
}
