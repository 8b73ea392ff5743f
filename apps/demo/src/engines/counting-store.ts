import type { StoreAdapter } from '@lockstep/core';
import type { EngineHooks } from './engine.js';

/** The same store, telling the hooks of every statement for reads and of every commit. */
export function countingStore<Value, Id, Tx>(
  store: StoreAdapter<Value, Id, Tx>,
  hooks: Pick<EngineHooks, 'storeRead' | 'committed'>,
): StoreAdapter<Value, Id, Tx> {
  return {
    name: store.name,
    source: store.source,
    capabilities: store.capabilities,
    transactions: store.transactions,
    feed: store.feed,
    serializer: store.serializer,
    shape: store.shape,
    declared: store.declared,
    carrier: store.carrier,
    async open() {
      await store.open?.();
    },
    keyOf: (id) => store.keyOf(id),
    ...(store.check === undefined ? {} : { check: (key, value) => store.check?.(key, value) }),
    read(keys, options) {
      hooks.storeRead(keys.length);
      return store.read(keys, options);
    },
    async write(commands, options) {
      const outcomes = await store.write(commands, options);
      if (options.tx === undefined && outcomes.some((outcome) => outcome.kind === 'written'))
        hooks.committed();
      return outcomes;
    },
    close: () => store.close(),
  };
}
