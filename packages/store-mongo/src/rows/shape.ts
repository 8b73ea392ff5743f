import type { RowShape, StoreShape } from '@lockstep/core';

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

  constructor(name: string | undefined, numberOf: (name: string) => Promise<number>) {
    this.name = name;
    this.#numberOf = numberOf;
    this.#shape = name === undefined ? UNNAMED : undefined;
  }

  current(): RowShape | undefined {
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
