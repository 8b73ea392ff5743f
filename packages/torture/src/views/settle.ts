import { setTimeout as pause } from 'node:timers/promises';
import type { ViewsParty } from './party.js';
import { QUERIES, type Query } from './rows.js';

const STEP_MS = 50;
/** How often in a row nothing must be left: a batch under way is nowhere to be seen. */
const QUIET_LOOKS = 4;
const IDLE_MS = 30_000;

/** Lets the workers finish: nothing is in the feed, for a while. */
export async function waitUntilRelayed({ store }: ViewsParty): Promise<void> {
  const deadline = performance.now() + IDLE_MS;
  for (let quiet = 0; quiet < QUIET_LOOKS; ) {
    if (performance.now() > deadline) throw new Error(`the feed is not empty after ${IDLE_MS} ms`);
    const left = await store.pending().catch(() => 1);
    quiet = left === 0 ? quiet + 1 : 0;
    await pause(STEP_MS);
  }
}

/** Views that are not what the database has, once nothing changes any more: as they are cached, and by `verify`. */
export async function differingViews(party: ViewsParty): Promise<string[]> {
  const differing: string[] = [];
  for (const query of QUERIES) {
    const expected = (await expectedOf(party, query)).sort().join();
    for (const round of ['first', 'second']) {
      const shown = (await party.read(query)).map(([key, token]) => `${key}=${token}`).sort();
      if (shown.join() !== expected) {
        differing.push(`${JSON.stringify(query)}, ${round} read: [${shown}], the database has [${expected}]`);
      }
    }
    const { outcome } = await party.views[query.view].verify(query as never, { settleMs: 0 });
    if (outcome === 'different') differing.push(`${JSON.stringify(query)}: verify finds it different`);
  }
  return differing;
}

async function expectedOf({ store }: ViewsParty, query: Query): Promise<string[]> {
  const rows = query.view === 'pair' ? await pairOf(store, query.key) : await store.find(query, undefined);
  return rows.map(({ _id, token }) => `${_id}=${token}`);
}

async function pairOf(store: ViewsParty['store'], key: string) {
  const row = await store.one(key, undefined);
  if (row === undefined) return [];
  const other = row.ref === key ? undefined : await store.one(row.ref, undefined);
  return other === undefined ? [row] : [row, other];
}
