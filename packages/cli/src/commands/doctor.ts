import { messageOf } from '@lockstep/core';
import { Command } from 'commander';
import { bounded, FOUND, OK, type Session, withSession } from '../session.js';
import { EVICTING_QUEUE, evictsOf } from '../state.js';

interface Finding {
  readonly what: string;
  readonly isWell: boolean;
  readonly says: string;
}

/** How long a question may take: several are asked of one server. */
const ANSWER_MS = 5_000;
const PROBES = 20;
const SLOW_MS = 5;
const SKEW_MS = 1_000;
const CLOCK_PROBES = 5;

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('before the first deployment: what servers, rights, clocks and the network are like')
    .action(async (_, command: Command) => {
      await withSession(command, async (session) => {
        // What is wrong with a part its own question tells.
        await session.lockstep.open({ timeoutMs: ANSWER_MS }).catch(() => undefined);
        const findings: Finding[] = [];
        const ask = async (what: string, question: () => Promise<Answer>): Promise<void> => {
          findings.push(await finding(what, question));
        };
        await Promise.all(
          session.lockstep.collections.map((each) => ask(`collection ${each.name}`, () => bound(each))),
        );
        // One after the other: the network is measured alone.
        for (const [name, store] of storesOf(session.lockstep)) {
          findings.push(...(await examined(name, store)));
          await ask(`${name} clock`, () => storeClock(store));
        }
        await ask('cache', () => cacheServer(session));
        await ask('cache network', () => latency(session));
        await ask('cache clock', () => clocks(session));
        await ask('queue', () => queueServer(session));
        session.result(
          findings,
          findings.map(({ isWell, says, what }) => `${isWell ? '✓' : '✗'} ${what}: ${says}`),
        );
        return findings.every(({ isWell }) => isWell) ? OK : FOUND;
      });
    });
}

type Answer = Pick<Finding, 'isWell' | 'says'>;

async function finding(what: string, ask: () => Promise<Answer>): Promise<Finding> {
  try {
    return { what, ...(await bounded(what, ask(), ANSWER_MS)) };
  } catch (error) {
    return { what, isWell: false, says: messageOf(error) };
  }
}

type Store = Session['lockstep']['collections'][number]['store'];

/** One of each database. */
function storesOf({ collections }: Session['lockstep']): Map<string, Store> {
  const stores = new Map<string, Store>();
  for (const { store } of collections) {
    const name = store.feed?.name ?? store.name;
    if (!stores.has(name)) stores.set(name, store);
  }
  return stores;
}

/** Server, version, rights, poolers and network, as the store's adapter tells them. */
async function examined(name: string, { installation }: Store): Promise<Finding[]> {
  if (installation?.examine === undefined) return [];
  try {
    const found = await bounded(name, installation.examine(), ANSWER_MS);
    return found.map(({ isWell, says, what }) => ({ what: `${name} ${what}`, isWell, says }));
  } catch (error) {
    return [{ what: name, isWell: false, says: messageOf(error) }];
  }
}

function clockBeside(aheadMs: number): string {
  return `${Math.abs(aheadMs)} ms ${aheadMs < 0 ? 'behind' : 'ahead of'} this machine`;
}

async function storeClock({ fence }: Store): Promise<Answer> {
  if (fence === undefined) return { isWell: true, says: 'not told' };
  const { at, found } = await quickest(async () => await fence.nowMs());
  return clock(found, at);
}

interface Asked<T> {
  readonly found: T;
  /** When it was asked and answered, by this machine's clock. */
  readonly at: readonly [fromMs: number, untilMs: number];
}

/** The answer that took the least time of a few: it tells best what a clock showed in the middle of it. */
async function quickest<T>(ask: () => Promise<T>): Promise<Asked<T>> {
  let best: Asked<T> | undefined;
  for (let i = 0; i < CLOCK_PROBES; i++) {
    const fromMs = Date.now();
    const found = await ask();
    const untilMs = Date.now();
    if (best === undefined || untilMs - fromMs < best.at[1] - best.at[0])
      best = { found, at: [fromMs, untilMs] };
  }
  return best as Asked<T>;
}

/** Wrong only where the time that the answer took can't explain it. */
function clock(nowMs: number, [fromMs, untilMs]: Asked<number>['at']): Answer {
  const aheadMs = Math.round(nowMs - (fromMs + untilMs) / 2);
  const isWell = nowMs > fromMs - SKEW_MS && nowMs < untilMs + SKEW_MS;
  return { isWell, says: `${clockBeside(aheadMs)}${isWell ? '' : ': run NTP on both'}` };
}

async function bound({ open, store }: Session['lockstep']['collections'][number]): Promise<Answer> {
  await open();
  const { feed, source } = store;
  if (feed !== undefined) return { isWell: true, says: `${source}, with a change feed` };
  return { isWell: true, says: `${source}, without a change feed: nobody tells the cache of others' writes` };
}

async function cacheServer({ lockstep }: Session): Promise<Answer> {
  const { description, evicts, evictsPersistent, outdated } = await lockstep.cache.info();
  if (outdated !== undefined) return { isWell: false, says: `${description}: ${outdated}` };
  const buffered = lockstep.collections.filter(({ unflushed }) => unflushed !== undefined);
  if (evictsPersistent === true && buffered.length > 0) {
    const names = buffered.map(({ name }) => name).join(', ');
    return {
      isWell: false,
      says: `${description}: may evict what is buffered of ${names}: set maxmemory-policy to noeviction or volatile-*`,
    };
  }
  return {
    isWell: true,
    says: `${description}${evicts === true ? ', may evict entries: misses, no old rows' : ''}`,
  };
}

async function latency({ lockstep }: Session): Promise<Answer> {
  const times: number[] = [];
  for (let i = 0; i < PROBES; i += 1) {
    const started = performance.now();
    await lockstep.cache.read([`${lockstep.prefix}::doctor`], 'utf8');
    times.push(performance.now() - started);
  }
  const median = times.sort((a, b) => a - b)[PROBES / 2] ?? 0;
  return { isWell: median < SLOW_MS, says: `a read takes ${median.toFixed(2)} ms (median of ${PROBES})` };
}

async function clocks({ lockstep }: Session): Promise<Answer> {
  const { at, found } = await quickest(() => lockstep.cache.probe(`${lockstep.prefix}::`));
  const answers = [...found].map(([primary, proof]): Answer => {
    if (proof instanceof Error) throw proof;
    const { isWell, says } = clock(proof.nowMs, at);
    return { isWell, says: primary === '' ? says : `${primary} ${says}` };
  });
  return { isWell: answers.every(({ isWell }) => isWell), says: answers.map(({ says }) => says).join(', ') };
}

async function queueServer({ lockstep }: Session): Promise<Answer> {
  const { queue } = lockstep;
  if (queue === undefined)
    return { isWell: true, says: 'none: what the cache refuses waits in the change feed' };
  const { dead, waiting } = await queue.status();
  if (await evictsOf(queue)) return { isWell: false, says: `${queue.name}: ${EVICTING_QUEUE}` };
  return { isWell: true, says: `${queue.name}, ${waiting} waiting, ${dead} dead letters` };
}
