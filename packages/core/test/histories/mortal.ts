import type { CacheAdapter, UnflushedIndex } from '../../src/contracts/cache.js';
import type { StoreAdapter } from '../../src/contracts/store.js';

/** A process that may die: from then on nothing it sends goes out, and nothing reaches it. */
export class Mortal {
  #alive = true;
  readonly #death = Promise.withResolvers<never>();

  constructor() {
    this.#death.promise.catch(() => undefined);
  }

  die(): void {
    this.#alive = false;
    this.#death.reject(new Error('the process died'));
  }

  /** What its clients see. */
  race<T>(promise: Promise<T>): Promise<T> {
    return Promise.race([promise, this.#death.promise]);
  }

  async #pass<T>(call: () => Promise<T>): Promise<T> {
    if (!this.#alive) return await new Promise(() => undefined);
    const result = await call();
    return this.#alive ? result : await new Promise(() => undefined);
  }

  cache(inner: CacheAdapter): CacheAdapter {
    const index = inner.unflushed as UnflushedIndex;
    return {
      ...inner,
      read: (keys, encoding) => this.#pass(() => inner.read(keys, encoding)),
      execute: (commands) => this.#pass(() => inner.execute(commands)),
      unflushed: {
        durable: false,
        add: (name, keys, limit) => this.#pass(() => index.add(name, keys, limit)),
        list: (name, after, limit) => this.#pass(() => index.list(name, after, limit)),
        remove: (name, keys) => this.#pass(() => index.remove(name, keys)),
        size: (name) => this.#pass(() => index.size(name)),
      },
    };
  }

  store<Value>(inner: StoreAdapter<Value>): StoreAdapter<Value> {
    return {
      ...inner,
      read: (keys, options) => this.#pass(() => inner.read(keys, options)),
      write: (commands, options) => this.#pass(() => inner.write(commands, options)),
    };
  }
}
