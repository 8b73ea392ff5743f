import type { StoreAdapter } from '@lockstep/core';

/** The commands and the calls since the last take. */
export type Take = () => { readonly commands: number; readonly statements: number };

/**
 * Counts the statements that a store's writes travel in. It replaces the store's own method: anything between
 * the engine and its store would be measured, too.
 */
export function counted<Value, Id, Tx>(store: StoreAdapter<Value, Id, Tx>): Take {
  const write = store.write.bind(store);
  let commands = 0;
  let statements = 0;
  store.write = (batch, options) => {
    commands += batch.length;
    statements += 1;
    return write(batch, options);
  };
  return () => {
    const counts = { commands, statements };
    commands = 0;
    statements = 0;
    return counts;
  };
}
