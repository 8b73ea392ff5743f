import { expect, test } from 'vitest';
import { CHAIR, LAMP, openShop, turns } from '../support/shop.js';

/** A collection of the table that is declared second, whose entries an earlier use of its name has left. */
async function readAdded(relayFirst: boolean) {
  const info = async () => ({ evicts: false, generation: 'first', description: 'shared' });
  const shop = openShop({ adapt: (cache) => ({ ...cache, shared: true, info }) });
  const versionOf = async (key: string): Promise<number> => {
    const [row] = await shop.rows.read([key], { timeoutMs: 1_000, primary: true });
    return row?.version ?? 0;
  };
  await shop.rows.foreignWrite('a', LAMP);
  const entry = { key: 'wtc:search:a', token: 't' } as const;
  const version = await versionOf('a');
  const value = { version, payload: JSON.stringify(LAMP), ttlMs: 3_600_000, staleAtMs: 0 };
  await shop.memory.execute([
    { kind: 'lease', ...entry, leaseMs: 1_000, holeTtlMs: 1_000, encoding: 'utf8' },
    { kind: 'fill', ...entry, ...value },
  ]);
  await shop.rows.foreignWrite('a', CHAIR);
  shop.rows.feed.acknowledge([{ source: 'products', key: 'a', version: await versionOf('a') }]);
  await shop.products.get('b');
  const relay = relayFirst ? shop.lockstep.startRelay() : undefined;
  for (let seconds = 0; seconds < 3; seconds++) {
    await turns();
    shop.clock.advance(1_000);
  }
  const second = shop.join();
  const search = second.lockstep.collection({ name: 'search', store: shop.store });
  const found = await search.get('a');
  await relay?.stop();
  return found;
}

for (const relayFirst of [false, true]) {
  const when = relayFirst ? 'behind a relay' : 'without a relay';
  test(`entries of an earlier use of a collection's name are not served, ${when}`, async () => {
    expect(await readAdded(relayFirst)).toEqual(CHAIR);
  });
}
