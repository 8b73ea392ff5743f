import type { WriteResult } from '../../src/contracts/api.js';
import type { Application, ApplicationParts, Row } from './world.js';

/**
 * What people write by hand: commit, then SET, delete on error; on a miss, load and SET. The checker must
 * see what is wrong with it.
 */
export function naive({ cache, store, scheduler }: ApplicationParts): Application {
  const entryKey = (key: string): string => `wtc:rows:${key}`;
  const set = async (key: string, version: number, row: Row | null): Promise<void> => {
    await scheduler.deliver();
    const payload = row === null ? null : JSON.stringify(row);
    const expiresAtMs = scheduler.clock.now() + 10_000;
    const entry = { kind: 'value', version, payload, staleAtMs: 0, expiresAtMs, unflushed: false } as const;
    cache.entries.set(entryKey(key), entry);
    await scheduler.deliver();
  };
  const write = async (key: string, value: Row | null): Promise<WriteResult<Row>> => {
    const command =
      value === null
        ? ({ kind: 'delete', key, above: 0 } as const)
        : ({ kind: 'put', key, value, above: 0 } as const);
    const [outcome] = await store.write([command], { timeoutMs: 500 });
    if (outcome?.kind !== 'written') throw new Error('not written');
    await set(key, outcome.version, outcome.value);
    return {
      value: outcome.value,
      version: outcome.version,
      cache: 'updated',
      store: 'committed',
      coalesced: false,
    };
  };
  return {
    collection: {
      async getVersioned(key) {
        await scheduler.deliver();
        const entry = cache.live(entryKey(key));
        await scheduler.deliver();
        if (entry?.kind === 'value') {
          const value = entry.payload === null ? null : (JSON.parse(String(entry.payload)) as Row);
          return { value, version: entry.version, from: 'cache' };
        }
        const [row] = await store.read([key], { timeoutMs: 500, primary: true });
        if (row === undefined) return { value: null, version: 0, from: 'store' };
        await set(key, row.version, row.value);
        return { value: row.value, version: row.version, from: 'store' };
      },
      put: (key, value) => write(key, value),
      delete: (key) => write(key, null),
      update: async (key, change) => write(key, (await change(undefined)) ?? null),
    },
  };
}
