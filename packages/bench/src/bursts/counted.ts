import type { StoreAdapter } from '@lockstep/core';

export interface CountedStore<Value, Id, Tx> {
  readonly store: StoreAdapter<Value, Id, Tx>;
  /** The commands and the calls since the last take. */
  take(): { readonly commands: number; readonly statements: number };
}

/** A store that counts the statements that its writes travel in. */
export function counted<Value, Id, Tx>(inner: StoreAdapter<Value, Id, Tx>): CountedStore<Value, Id, Tx> {
  let commands = 0;
  let statements = 0;
  const write: typeof inner.write = (batch, options) => {
    commands += batch.length;
    statements += 1;
    return inner.write(batch, options);
  };
  const store = new Proxy(inner, {
    get(target, name) {
      if (name === 'write') return write;
      const member: unknown = Reflect.get(target, name, target);
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
  return {
    store,
    take() {
      const counts = { commands, statements };
      commands = 0;
      statements = 0;
      return counts;
    },
  };
}
