import { writeFileSync } from 'node:fs';
import { startMongo, startPostgres } from '@lockstep/dev-services';
import { Slot } from '../processes/slot.js';
import { seededRandom } from '../random.js';
import { type BreakableCache, startBreakableCache } from './breaker.js';
import { checkViews } from './checker/check.js';
import { writeForeign } from './foreign.js';
import type { ViewsHistory } from './history.js';
import { type Blow, strikeAll } from './killer.js';
import { openViewsParty, type ViewsParty } from './party.js';
import { ViewsRecorder } from './recorder.js';
import type { ViewsResult } from './result.js';
import { CATEGORIES, KEYS } from './rows.js';
import type { ViewsSettings } from './settings.js';
import { differingViews, waitUntilRelayed } from './settle.js';

const ENTRY = new URL('./child/main.js', import.meta.url);
const STOP_MS = 20_000;
const EXAMPLES = 10;

/**
 * Processes that read lists, joins and counts, and write the rows of them, beside another program, while processes are
 * killed and the cache is broken; every read is judged by what the database itself has recorded. Runs until all kills are
 * done, or the signal aborts; nothing is left behind either way.
 */
export async function runViews(
  settings: ViewsSettings,
  signal: AbortSignal,
  progress: (line: string) => void,
): Promise<ViewsResult> {
  await using database = await (settings.store === 'postgres' ? startPostgres : startMongo)({ owned: true });
  const cache = await startBreakableCache(settings.cache);
  try {
    const { control, store } = settings;
    const shared = { store, control, storeUrl: database.url, cache: cache.address };
    const party = await openViewsParty(shared);
    try {
      const versions = { [store]: database.version, cache: cache.version };
      return await conduct(settings, shared, party, cache, versions, signal, progress);
    } finally {
      await party.close();
    }
  } finally {
    await cache.stop();
  }
}

async function conduct(
  settings: ViewsSettings,
  shared: object,
  party: ViewsParty,
  cache: BreakableCache,
  servers: ViewsResult['servers'],
  signal: AbortSignal,
  progress: (line: string) => void,
): Promise<ViewsResult> {
  const { kills, seed } = settings;
  const recorder = new ViewsRecorder();
  await party.store.prepare(KEYS.map(seedRow));
  await party.rows.get(KEYS[0] as string);
  const listen = (ready: () => void) => recorder.listen(ready);
  const slots = (['application', 'application', 'worker', 'worker'] as const).map(
    (role, place) => new Slot({ entry: ENTRY, role, place, settings: shared, listen, seed }),
  );
  const over = new AbortController();
  try {
    await Promise.all(slots.map((slot) => slot.start()));
    const startedAt = performance.now();
    const foreign = writeForeign(party.store, recorder, seededRandom(seed, 1), over.signal);
    const blows = await strikeAll({
      kills,
      slots,
      cache,
      random: seededRandom(seed, 2),
      signal,
      onBlow: (done, blow) =>
        progress(
          `${done} of ${kills} (${blow}); ${recorder.promised.length} writes; ${recorder.reads.length} reads`,
        ),
    });
    over.abort();
    await foreign;
    signal.throwIfAborted();
    const loadMs = performance.now() - startedAt;
    await stop(slots, 'application', recorder);
    await waitUntilRelayed(party);
    const differing = await differingViews(party);
    await stop(slots, 'worker', recorder);
    const states = await party.store.states();
    const { promised, reads } = recorder;
    const history = { states, promised, reads, windows: cache.windows };
    if (settings.history !== undefined) writeFileSync(settings.history, textOf(history, blows));
    const { excused, lost, stale, wrong } = checkViews(history);
    const settleMs = performance.now() - startedAt - loadMs;
    const examples = { stale, wrong, lost, differing };
    return {
      store: settings.store,
      cache: settings.cache,
      kills,
      seed,
      control: settings.control ?? null,
      servers,
      blows: countsOf(blows),
      promised: promised.length,
      states: [...states.values()].reduce((sum, own) => sum + own.length - 1, 0),
      reads: reads.length,
      stale: stale.length,
      wrong: wrong.length,
      lost: lost.length,
      differing: differing.length,
      excused,
      clean: stale.length + wrong.length + lost.length + differing.length === 0,
      counts: recorder.counts,
      seconds: { load: Math.round(loadMs / 100) / 10, settle: Math.round(settleMs / 100) / 10 },
      examples: Object.fromEntries(
        Object.entries(examples).map(([name, all]) => [name, all.slice(0, EXAMPLES)]),
      ),
    };
  } finally {
    over.abort();
    await Promise.all(slots.map((slot) => slot.end()));
  }
}

async function stop(slots: readonly Slot[], role: Slot['role'], recorder: ViewsRecorder): Promise<void> {
  const own = slots.filter((slot) => slot.role === role);
  const ended = await Promise.all(own.map((slot) => slot.stop(STOP_MS)));
  for (const inOrder of ended) if (!inOrder) recorder.count('ended by force');
}

function seedRow(_id: string, i: number) {
  const category = CATEGORIES[i % CATEGORIES.length] ?? null;
  return { _id, category, shelf: i % 2, ref: KEYS[(i + 1) % KEYS.length] as string, token: `seed:${_id}` };
}

function countsOf(blows: readonly Blow[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { what } of blows) counts[what] = (counts[what] ?? 0) + 1;
  return counts;
}

function textOf({ states, ...history }: ViewsHistory, blows: readonly Blow[]): string {
  return JSON.stringify({ ...history, states: Object.fromEntries(states), blows });
}
