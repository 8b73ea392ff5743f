import { messageOf } from '@lockstep/core';
import { Command } from 'commander';
import { FOUND, OK, opening, type Session, withSession } from '../session.js';
import { EVICTING_QUEUE, evictsOf } from '../state.js';

interface Finding {
  readonly what: string;
  readonly isWell: boolean;
  readonly says: string;
}

const PROBES = 20;
const SLOW_MS = 5;
const SKEW_MS = 1_000;
const CLOCK_PROBES = 5;

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('before the first deployment: what servers, rights, clocks and the network are like')
    .action(async (_, command: Command) => {
      await withSession(command, async (session) => {
        const { lockstep } = session;
        const groups = await Promise.all([
          ...lockstep.collections.map((each) =>
            inOrder(session, [[`collection ${each.name}`, () => bound(each)]]),
          ),
          ...[...storesOf(lockstep)].map(([name, store]) => examined(session, name, store)),
          inOrder(session, [
            ['cache', () => cacheServer(session)],
            ['cache network', () => latency(session)],
            ['cache clock', () => clocks(session)],
          ]),
          inOrder(session, [['queue', () => queueServer(session)]]),
        ]);
        const findings = groups.flat();
        session.result(
          findings,
          findings.map(({ isWell, says, what }) => `${isWell ? '✓' : '✗'} ${what}: ${says}`),
        );
        return findings.every(({ isWell }) => isWell) ? OK : FOUND;
      });
    });
}

type Answer = Pick<Finding, 'isWell' | 'says'>;
type Question = readonly [what: string, ask: () => Promise<Answer>];

/** Asks one server, one question after the other. The first that fails is the last: the others would fail as it did. */
async function inOrder({ ask }: Session, questions: readonly Question[]): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const [what, question] of questions) {
    try {
      findings.push({ what, ...(await ask(what, question())) });
    } catch (error) {
      return [...findings, failed(what, error)];
    }
  }
  return findings;
}

function failed(what: string, error: unknown): Finding {
  const message = messageOf(error);
  return {
    what,
    isWell: false,
    says: message.startsWith(`${what}: `) ? message.slice(what.length + 2) : message,
  };
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

/** Server, version, rights, poolers and network, as the store's adapter tells them; and its clock. */
async function examined(session: Session, name: string, store: Store): Promise<Finding[]> {
  const findings: Finding[] = [];
  if (store.installation?.examine !== undefined) {
    try {
      const found = await session.ask(name, store.installation.examine());
      findings.push(...found.map(({ isWell, says, what }) => ({ what: `${name} ${what}`, isWell, says })));
    } catch (error) {
      return [failed(name, error)];
    }
  }
  return [...findings, ...(await inOrder(session, [[`${name} clock`, () => storeClock(store)]]))];
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
  await opening(lockstep);
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
