import { Slot } from '../processes/slot.js';
import { seededRandom } from '../random.js';
import { CacheServer } from './cache-server.js';
import { check, type Findings } from './checker/check.js';
import { timelinesOf } from './checker/timeline.js';
import { writeForeign } from './foreign.js';
import { type History, isAcked } from './history.js';
import { killAll, type Victim } from './killer.js';
import { openParty, type Party } from './party.js';
import { Recorder } from './recorder.js';
import type { CrashResult } from './result.js';
import { KEYS, seedRow } from './rows.js';
import { type Servers, startServers } from './servers.js';
import { type CrashSettings, MAX_CLOCK_SKEW_MS, type PartySettings } from './settings.js';
import { type Settled, settle, waitUntilIdle } from './settle.js';

const ENTRY = new URL('./child/main.js', import.meta.url);
const STOP_MS = 20_000;
const IDLE_MS = 30_000;
const EXAMPLES = 10;

/** Runs until all kills are done, or the signal aborts; nothing is left behind either way. */
export async function runCrash(
  settings: CrashSettings,
  signal: AbortSignal,
  progress: (line: string) => void,
): Promise<CrashResult> {
  const servers = await startServers(settings);
  try {
    const { store, durability, control } = settings;
    const shared = { store, durability, control, storeUrl: servers.storeUrl };
    const party = { ...shared, cacheUrl: servers.cache.url, queueUrl: servers.queueUrl };
    const opened = await openParty(party, 'synchronous');
    try {
      return await conduct(settings, servers, party, opened, signal, progress);
    } finally {
      await opened.close();
    }
  } finally {
    await servers.stop();
  }
}

async function conduct(
  settings: CrashSettings,
  servers: Servers,
  shared: PartySettings,
  party: Party,
  signal: AbortSignal,
  progress: (line: string) => void,
): Promise<CrashResult> {
  const { kills, redisRestart, seed } = settings;
  const recorder = new Recorder();
  recorder.seed(await party.store.prepare(KEYS.map(seedRow)));
  await party.rows.get(KEYS[0] as string);
  const cache = new CacheServer(servers.cache, settings);
  const listen = (ready: () => void) => recorder.listen(ready);
  const slots = (['application', 'worker'] as const).flatMap((role) =>
    [0, 1].map((place) => new Slot({ entry: ENTRY, role, place, settings: shared, listen, seed })),
  );
  const over = new AbortController();
  try {
    await Promise.all(slots.map((slot) => slot.start()));
    await cache.watch();
    const startedAt = performance.now();
    const foreign = writeForeign(party.store, recorder, seededRandom(seed, 1), over.signal);
    const killed = await killAll({
      kills,
      slots,
      cache: redisRestart ? cache : undefined,
      random: seededRandom(seed, 2),
      signal,
      onKill: (done, victim) => progress(lineOf(done, kills, victim, recorder)),
    });
    over.abort();
    await foreign;
    signal.throwIfAborted();
    const loadMs = performance.now() - startedAt;
    const settled = await finish(slots, recorder, party);
    const { rows } = settled;
    const { reads, writes } = recorder;
    const history = { writes, reads, rows };
    const findings = check(history, { foreignSlackUs: MAX_CLOCK_SKEW_MS * 1_000 });
    const settleMs = performance.now() - startedAt - loadMs;
    const seconds = { load: Math.round(loadMs / 100) / 10, settle: Math.round(settleMs / 100) / 10 };
    return resultOf(settings, servers, recorder, history, killed, settled, findings, seconds);
  } finally {
    over.abort();
    cache.close();
    await Promise.all(slots.map((slot) => slot.end()));
  }
}

/** The applications finish first, then the workers have time to drain what they left. */
async function finish(slots: readonly Slot[], recorder: Recorder, party: Party): Promise<Settled> {
  for (const role of ['application', 'worker'] as const) {
    const ended = await Promise.all(
      slots.filter((slot) => slot.role === role).map((slot) => slot.stop(STOP_MS)),
    );
    for (const inOrder of ended) if (!inOrder) recorder.count('ended-by-force');
    if (role === 'application') await waitUntilIdle(party, IDLE_MS);
  }
  return await settle(party);
}

function lineOf(done: number, kills: number, victim: Victim, recorder: Recorder): string {
  const { acknowledged, buffered, reads } = recorder;
  return `${done} of ${kills} kills (${victim}); ${acknowledged} writes acknowledged, ${buffered} of them buffered; ${reads.length} reads`;
}

function resultOf(
  settings: CrashSettings,
  servers: Servers,
  recorder: Recorder,
  history: History,
  killed: Record<Victim, number>,
  { differing, pending, unflushed }: Settled,
  { lost, reordered, staleFallbacks, staleReads }: Findings,
  seconds: CrashResult['seconds'],
): CrashResult {
  const { acknowledged, buffered, counts, reads, writes } = recorder;
  const { appendfsync, control, durability, powerLoss, redisRestart, seed, store } = settings;
  const stale = [...staleReads, ...differing];
  const examples = { lost, reordered, staleReads: stale, staleFallbacks };
  return {
    store,
    seed,
    control: control ?? null,
    redisRestart,
    durability,
    appendfsync,
    powerLoss,
    servers: servers.versions,
    kills: Object.values(killed).reduce((sum, count) => sum + count, 0),
    killed,
    acknowledged,
    buffered,
    committed: acknowledged - buffered,
    unanswered: writes.filter((write) => !isAcked(write)).length,
    reads: reads.length,
    lost: lost.length,
    reordered: reordered.length,
    staleReads: stale.length,
    staleFallbacks: staleFallbacks.length,
    left: { unflushed, pending, differing: differing.length },
    clean: lost.length + reordered.length + stale.length + unflushed === 0,
    counts,
    seconds,
    examples: Object.fromEntries(
      Object.entries(examples).map(([name, found]) => [name, found.slice(0, EXAMPLES)]),
    ),
    timelines: timelinesOf([...lost, ...reordered, ...stale].slice(0, EXAMPLES), history),
  };
}
