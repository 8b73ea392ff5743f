import { type Random, randomInt, systemMs } from '@lockstep/torture';
import type { Operation } from '../load/operation.js';
import type { OperationStream } from '../load/workload.js';
import type { Meter } from '../measure.js';
import { CATEGORIES, makeChange, makeProduct, makeReview } from '../products.js';
import type { Catalogue } from './catalogue.js';
import type { ShopClient } from './client.js';
import type { Window } from './window.js';

export interface GeneratorOptions {
  readonly catalogue: Catalogue;
  readonly window: Window;
  readonly products: number;
  /** The same operations over HTTP, for a small share of them. */
  readonly client: ShopClient;
  readonly meter: Meter;
  readonly random: Random;
}

/** The share of operations that go through HTTP: there are a hundred times as many reads as writes. */
const HTTP_SHARE = { read: 0.01, write: 0.1 };
/** For each read of a product, so many of lists and of product pages; for each write, so many of reviews. */
const WINDOW_SHARE = { read: 0.04, write: 0.2 };
/** The share of reviews' writes that are deletes. */
const REMOVED = 0.2;
/** How often operations that are due are started. Those of one turn run at once, as requests would. */
const TURN_MS = 4;
/** How much of a stream's load may be made up for after a pause, in seconds; what is beyond that is skipped. */
const CATCH_UP_SECONDS = 0.25;
/** Operations under way at once, as a server bounds its open requests; what is due beyond that is skipped. */
const MAX_IN_FLIGHT = { read: 2_000, write: 500 };

/** Starts operations on an open-loop schedule: a slow answer does not slow down what comes next. */
export class Generator {
  readonly #options: GeneratorOptions;
  #streams: { readonly stream: OperationStream; readonly startMs: number; issued: number }[] = [];
  #timer: NodeJS.Timeout | undefined;
  readonly #inFlight = { read: new Set<Promise<void>>(), write: new Set<Promise<void>>() };

  constructor(options: GeneratorOptions) {
    this.#options = options;
  }

  /** Replaces what was running. */
  run(streams: readonly OperationStream[]): void {
    const startMs = systemMs();
    this.#streams = streams.map((stream) => ({ stream, startMs, issued: 0 }));
    this.#timer ??= setInterval(() => this.#turn(), TURN_MS);
  }

  /** Starts nothing more, and waits for what is under way. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#streams = [];
    await Promise.all([...this.#inFlight.read, ...this.#inFlight.write]);
  }

  #turn(): void {
    const nowMs = systemMs();
    for (const one of this.#streams) {
      const rate = one.stream.ratePerSecond;
      const due = Math.floor((rate * (nowMs - one.startMs)) / 1_000) - one.issued;
      one.issued += due;
      const allowed = Math.min(due, Math.max(1, Math.ceil(rate * CATCH_UP_SECONDS)));
      for (let i = 0; i < due; i += 1) {
        // A skipped operation is drawn all the same, so that the sequence does not depend on the machine.
        const operation = one.stream.next(nowMs);
        const type = operation.kind === 'read' ? 'read' : 'write';
        if (i < allowed && this.#inFlight[type].size < MAX_IN_FLIGHT[type]) this.#start(operation, type);
        else this.#options.meter.count(type === 'read' ? 'skippedReads' : 'skippedWrites');
      }
    }
  }

  #start(operation: Operation, type: 'read' | 'write'): void {
    const overHttp = this.#options.random() < HTTP_SHARE[type];
    if (this.#options.random() < WINDOW_SHARE[type]) this.#track(this.#shown(operation, type), type);
    // Failures are counted where they happen.
    this.#track(overHttp ? this.#overHttp(operation) : this.#direct(operation), type);
  }

  #track(body: Promise<void>, type: 'read' | 'write'): void {
    const run = body.catch(() => undefined).finally(() => this.#inFlight[type].delete(run));
    this.#inFlight[type].add(run);
  }

  /** A list, a product page, or a review beside the operation. */
  async #shown({ index }: Operation, type: 'read' | 'write'): Promise<void> {
    const { products, random, window } = this.#options;
    if (type === 'read') {
      if (random() < 0.5) await window.list(popularCategory(random));
      else await window.page(random() < 0.5 ? index + 1 : makeReview(random, products).product);
      return;
    }
    const review = makeReview(random, products);
    if (random() < REMOVED) await window.removeReview(review.id);
    else await window.putReview(review);
  }

  async #direct({ kind, index, valueBytes, ttlMs }: Operation): Promise<void> {
    const { catalogue, random } = this.#options;
    const id = index + 1;
    if (kind === 'read') {
      await catalogue.read(id, ttlMs);
    } else if (kind === 'delete') {
      await catalogue.remove(id);
    } else {
      if (kind === 'patch' && (await catalogue.patch(id, makeChange(random, valueBytes), ttlMs))) return;
      if (kind === 'stock' && (await catalogue.addStock(id, pieces(random), ttlMs))) return;
      // A put, or a change of a product that has been deleted: it is offered again.
      await catalogue.put(makeProduct(id, random, valueBytes), ttlMs);
    }
  }

  async #overHttp({ kind, index, valueBytes }: Operation): Promise<void> {
    const { client, random } = this.#options;
    const id = index + 1;
    if (kind === 'read') await client.get(id);
    else if (kind === 'delete') await client.remove(id);
    else if (kind === 'put') await client.put(makeProduct(id, random, valueBytes));
    else if (!(await client.patch(id, makeChange(random, valueBytes)))) {
      await client.put(makeProduct(id, random, valueBytes));
    }
  }
}

/** More than half ask for the first one. */
function popularCategory(random: Random): string {
  return CATEGORIES[Math.floor(random() ** 3 * CATEGORIES.length)] ?? '';
}

/** Nine orders, then a delivery, on average. */
function pieces(random: Random): number {
  return random() < 0.1 ? 27 : -randomInt(random, 1, 5);
}
