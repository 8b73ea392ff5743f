import type { StoreAdapter } from '@lockstep/core';
import type { ViewRow } from '../rows.js';
import type { ViewsStore } from '../stores/store.js';
import type { ViewsControl } from './names.js';

type Finds = Pick<ViewsStore, 'find' | 'one'>;

/** How old what the replica has may be, in ms. */
const LAG_MS = 150;

/** The store with the control's rule taken out; the store itself where the rule is none of its. */
export function controlledViewsStore<Value, Id>(
  store: StoreAdapter<Value, Id>,
  control: ViewsControl | undefined,
): StoreAdapter<Value, Id> {
  if (control !== 'new-tags-only') return store;
  const write: typeof store.write = async (commands, options) => {
    const outcomes = await store.write(commands, options);
    return outcomes.map((outcome) =>
      outcome.kind === 'written' ? { ...outcome, texts: outcome.texts?.slice(-1) } : outcome,
    );
  };
  return new Proxy(store, {
    get(target, name) {
      const member: unknown = name === 'write' ? write : Reflect.get(target, name, target);
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
}

/** What views are loaded by: the store, or what a replica has of it. */
export function controlledFinds(store: ViewsStore, control: ViewsControl | undefined): Finds {
  if (control !== 'lagging-replica') return store;
  let rows: Promise<ViewRow[]> | undefined;
  let untilMs = 0;
  const replica = async (): Promise<ViewRow[]> => {
    if (performance.now() > untilMs) {
      untilMs = performance.now() + LAG_MS;
      rows = store.find({ view: 'all' }, undefined);
    }
    return (await rows) ?? [];
  };
  return {
    async find(query) {
      const all = await replica();
      if (query.view === 'all') return all;
      return all.filter(
        ({ category, shelf }) =>
          category === query.category && (query.view === 'category' || shelf === query.shelf),
      );
    },
    one: async (key) => (await replica()).find(({ _id }) => _id === key),
  };
}
