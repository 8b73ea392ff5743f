import {
  type FactBuffer,
  type FactKind,
  type FreshnessChecker,
  type ListChecker,
  NO_GROUP,
  systemMs,
} from '@lockstep/torture';
import type { ReadAnswer, ShopEngine, WriteAnswer } from '../engines/engine.js';
import { fateOf, type Meter } from '../measure.js';
import type { Product, ProductChange } from '../products.js';
import { placeOf } from './places.js';

export interface CatalogueOptions {
  readonly engine: ShopEngine;
  readonly checker: FreshnessChecker;
  readonly lists: ListChecker;
  readonly facts: FactBuffer;
  readonly meter: Meter;
  /** Ids 1 to this are judged. */
  readonly products: number;
  /** Tells the other processes at once what is in `facts`. */
  readonly tellNow: () => void;
}

/** Every read and write of this process goes through here, whoever asks: counted, timed, told to the checker. */
export class Catalogue {
  readonly #engine: ShopEngine;
  readonly #checker: FreshnessChecker;
  readonly #lists: ListChecker;
  readonly #facts: FactBuffer;
  readonly #meter: Meter;
  readonly #products: number;
  readonly #tellNow: () => void;

  constructor(options: CatalogueOptions) {
    this.#engine = options.engine;
    this.#checker = options.checker;
    this.#lists = options.lists;
    this.#facts = options.facts;
    this.#meter = options.meter;
    this.#products = options.products;
    this.#tellNow = options.tellNow;
  }

  async read(id: number, ttlMs = 0): Promise<ReadAnswer> {
    const index = id - 1;
    const judged = index < this.#products;
    const startMs = systemMs();
    const ticket = judged ? this.#checker.begin(index, startMs) : undefined;
    this.#meter.count('reads');
    try {
      const answer = await this.#engine.read(id, ttlMs);
      const endMs = systemMs();
      this.#meter.time('readMs', endMs - startMs);
      if (answer.hit) this.#meter.count('hits');
      if (judged) this.#checker.end(ticket, index, answer.version, answer.product === null, endMs);
      return answer;
    } catch (error) {
      this.#checker.cancel(ticket);
      this.#meter.count('failedReads');
      this.#meter.failure('read', error);
      throw error;
    }
  }

  put(product: Product, ttlMs = 0): Promise<WriteAnswer> {
    return this.#write(product.id, 'put', () => this.#engine.put(product, ttlMs));
  }

  /** Resolves with `undefined` when there is no such product; so does `addStock`. */
  patch(id: number, change: ProductChange, ttlMs = 0): Promise<WriteAnswer | undefined> {
    return this.#write(id, 'patch', () => this.#engine.patch(id, change, ttlMs));
  }

  addStock(id: number, by: number, ttlMs = 0): Promise<WriteAnswer | undefined> {
    return this.#write(id, 'stock', () => this.#engine.addStock(id, by, ttlMs));
  }

  async remove(id: number): Promise<WriteAnswer> {
    // Told before it is sent: a process that is killed here leaves a delete of unknown outcome.
    this.#tell('delete-begun', id, 0);
    this.#tellNow();
    try {
      const answer = await this.#write(id, 'delete', () => this.#engine.remove(id));
      this.#tell('delete-ended', id, 0);
      return answer;
    } catch (error) {
      // One of unknown outcome stays open: it may explain an absence for ever.
      if (fateOf(error) === 'not-committed') this.#tell('delete-ended', id, 0);
      throw error;
    }
  }

  async #write<Answer extends WriteAnswer | undefined>(
    id: number,
    what: string,
    body: () => Promise<Answer>,
  ): Promise<Answer> {
    const startMs = systemMs();
    try {
      const answer = await body();
      if (answer !== undefined) this.#acknowledged(id, answer, systemMs() - startMs);
      return answer;
    } catch (error) {
      this.#meter.count('writes');
      this.#meter.count('failedWrites');
      if (fateOf(error) === 'unknown') this.#meter.count('unknownWrites');
      this.#meter.failure(what, error);
      throw error;
    }
  }

  #acknowledged(id: number, answer: WriteAnswer, ms: number): void {
    this.#meter.count('writes');
    if (answer.cache !== 'pending') this.#meter.count(answer.cache);
    if (answer.coalesced) this.#meter.count('coalesced');
    this.#meter.time('writeMs', ms);
    const { cache, product, version } = answer;
    if (version > 0) this.#tell(factOf(cache, product === null), id, version, product);
  }

  #tell(kind: FactKind, id: number, version: number, product: Product | null = null): void {
    const index = id - 1;
    if (index >= this.#products) return;
    const atMs = systemMs();
    const place = product === null ? { group: NO_GROUP, rank: 0 } : placeOf(product);
    this.#checker.fact({ kind, index, version, atMs });
    this.#lists.fact({ kind, index, version, atMs, ...place });
    this.#facts.add(kind, index, version, atMs, place);
  }
}

export function factOf(cache: WriteAnswer['cache'], deleted: boolean): FactKind {
  const binding = cache === 'updated' || cache === 'invalidated';
  if (deleted) return binding ? 'delete' : 'late-delete';
  return binding ? 'put' : 'late-put';
}
