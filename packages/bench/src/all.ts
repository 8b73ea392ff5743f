import { BULK, type BulkResult, runBulk } from './bulk.js';
import { CONTENTION, runContention } from './contention.js';
import { IDLE, runIdle } from './fleet/idle.js';
import { HITS, type Measured, type OtherSide, runHits } from './hits.js';
import { NEAR_BENCH, runNear } from './near.js';
import { COSTS, runCosts } from './peers/costs.js';
import type { CaseResult } from './peers/figures.js';
import { LOG, runLog } from './peers/log.js';
import { MEMORY, runMemory } from './peers/memory.js';
import { MISSES, runMisses } from './peers/misses.js';
import { MIX, type MixResult, runMix } from './peers/mix.js';
import { PAYLOADS, runPayloads } from './peers/payloads.js';
import { PROCESSES, runProcesses } from './peers/processes.js';
import { PRODUCTION, runProduction } from './peers/production.js';
import { runSizes, SIZES } from './peers/sizes.js';
import { runStampede, STAMPEDE } from './peers/stampede.js';
import { runTransactions, TRANSACTIONS } from './peers/transactions.js';
import { runWrites, WRITES } from './peers/writes.js';
import { PLANS, runPlans } from './plans.js';
import { RELAY_BENCH, runRelay } from './relay.js';

/** Figures by the name of the case. */
export type Figures = Readonly<Record<string, number>>;

/** One suite's figures in the form that all of them have. */
export interface Section {
  readonly ours: Figures;
  readonly peers: Readonly<Record<string, Figures>>;
  /** What nobody can beat, or must not be passed: by its name. */
  readonly limit: Readonly<Record<string, Figures>>;
  /** Ours ÷ theirs, by the other side's name. */
  readonly ratio: Readonly<Record<string, Figures>>;
  /** The lowest and the highest turn of ours, by case, where a suite tells them. */
  readonly spread?: Readonly<Record<string, readonly [number, number]>>;
  /** By case, where a suite tells it. */
  readonly unit?: Readonly<Record<string, string>>;
}

/** What each suite of {@link runAll} is run with. */
export const ALL = {
  hits: HITS,
  near: NEAR_BENCH,
  writes: WRITES,
  contention: CONTENTION,
  // A million rows of each kind take half an hour: `bench plans` has them.
  plans: { ...PLANS, sizes: [100, 10_000], feed: 20_000 },
  relay: RELAY_BENCH,
  bulk: BULK,
  stampede: STAMPEDE,
  mix: MIX,
  misses: MISSES,
  production: PRODUCTION,
  transactions: TRANSACTIONS,
  payloads: PAYLOADS,
  // A million rows: `bench sizes`.
  sizes: { ...SIZES, sizes: [10_000, 100_000] },
  processes: PROCESSES,
  memory: MEMORY,
  costs: COSTS,
  log: LOG,
  idle: IDLE,
};
export type AllOptions = typeof ALL;
export type AllSuite = keyof AllOptions;

/** Sections by name: those of the suites, of which `hits` has two, `reads` and `getMany`. */
export type AllResult = Readonly<Record<Exclude<AllSuite, 'hits'> | 'reads' | 'getMany', Section>>;

type Run = (line: (text: string) => void, options: AllOptions) => Promise<Partial<AllResult>>;

const RUNS: Readonly<Record<AllSuite, Run>> = {
  hits: async (progress, { hits }) => {
    const { getMany, reads } = await runHits(hits, progress);
    return { reads: besideLimit(reads), getMany: besideLimit(getMany) };
  },
  near: async (progress, { near }) => {
    const { limit, ours, peers, ratio } = await runNear(near, progress);
    return { near: { ours, peers, limit: { 'lru-cache': limit }, ratio: { bentocache: ratio } } };
  },
  writes: async (progress, { writes }) => ({ writes: besidePeers(await runWrites(writes, progress)) }),
  contention: async (progress, { contention }) => {
    const { ratio, sides } = await runContention(contention, progress);
    return {
      contention: {
        ours: mapped(sides, ({ ours }) => ours.perSecond),
        peers: { 'by hand': mapped(sides, ({ theirs }) => theirs.perSecond) },
        limit: {},
        ratio: { 'by hand': ratio },
      },
    };
  },
  plans: async (progress, { plans }) => {
    const { excesses, explained } = await runPlans(plans, progress);
    return {
      plans: {
        ours: { statements: explained, 'beyond the limit': excesses.length },
        peers: {},
        limit: { 'of buffers': { 'beyond the limit': 0 } },
        ratio: {},
      },
    };
  },
  relay: async (progress, { relay }) => {
    const { drains } = await runRelay(relay, progress);
    return { relay: { ours: mapped(drains, ({ perSecond }) => perSecond), peers: {}, limit: {}, ratio: {} } };
  },
  bulk: async (progress, { bulk }) => ({ bulk: ofBulk(await runBulk(bulk, progress)) }),
  stampede: async (progress, { stampede }) => ({
    stampede: besidePeers(await runStampede(stampede, progress)),
  }),
  mix: async (progress, { mix }) => ({ mix: ofMix(await runMix(mix, progress)) }),
  misses: async (progress, { misses }) => ({ misses: besidePeers(await runMisses(misses, progress)) }),
  production: async (progress, { production }) => ({
    production: ofMix(await runProduction(production, progress)),
  }),
  transactions: async (progress, { transactions }) => ({
    transactions: besidePeers(await runTransactions(transactions, progress)),
  }),
  payloads: async (progress, { payloads }) => ({
    payloads: besidePeers(await runPayloads(payloads, progress)),
  }),
  sizes: async (progress, { sizes }) => ({ sizes: besidePeers(await runSizes(sizes, progress)) }),
  processes: async (progress, { processes }) => ({
    processes: besidePeers(await runProcesses(processes, progress)),
  }),
  memory: async (progress, { memory }) => ({ memory: besidePeers(await runMemory(memory, progress)) }),
  costs: async (progress, { costs }) => ({ costs: besidePeers(await runCosts(costs, progress)) }),
  log: async (progress, { log }) => ({ log: besidePeers(await runLog(log, progress)) }),
  idle: async (progress, { idle }) => {
    const { settings: _, ...ours } = await runIdle(idle, progress);
    return { idle: { ours, peers: {}, limit: {}, ratio: {} } };
  },
};

export const ALL_SUITES = Object.keys(RUNS) as AllSuite[];

/** These suites, one after the other, on servers of their own. */
export async function runAll(
  options: AllOptions,
  suites: readonly AllSuite[],
  progress: (line: string) => void,
  /** Told what there is after each suite: a run that is interrupted has it. */
  keep: (result: Partial<AllResult>) => void = () => undefined,
): Promise<Partial<AllResult>> {
  let result: Partial<AllResult> = {};
  for (const suite of suites) {
    const startedAt = performance.now();
    result = { ...result, ...(await RUNS[suite](progress, options)) };
    keep(result);
    progress(`${suite}: ${((performance.now() - startedAt) / 1_000).toFixed(0)} s`);
  }
  return result;
}

function besideLimit(cases: Readonly<Record<string, Measured>>): Section {
  const names = new Set(Object.values(cases).flatMap(({ others }) => Object.keys(others) as OtherSide[]));
  const bySide = (figure: 'figure' | 'ratio'): Readonly<Record<string, Figures>> =>
    Object.fromEntries(
      [...names].map((name) => [
        name,
        mapped(cases, ({ others }) => others[name]?.[figure].median ?? Number.NaN),
      ]),
    );
  return {
    ours: mapped(cases, ({ ours }) => ours.median),
    peers: {},
    limit: bySide('figure'),
    ratio: bySide('ratio'),
    spread: mapped(cases, ({ ours }) => [ours.low, ours.high] as const),
    unit: mapped(cases, ({ unit }) => unit),
  };
}

function ofBulk({ statements }: BulkResult): Section {
  return {
    ours: mapped(statements, ({ ms }) => ms.attached),
    peers: {},
    limit: {
      'a plain table': mapped(statements, ({ ms }) => ms.plain),
      'stamping alone': mapped(statements, ({ ms }) => ms.stamped),
    },
    ratio: {
      'a plain table': mapped(statements, ({ ratio }) => ratio.attached),
      'a plain table, bulk: true': mapped(statements, ({ ratio }) => ratio.bulk),
    },
  };
}

function ofMix({ cases, stale }: MixResult): Section {
  const section = besidePeers(cases);
  const named = { 'stale keys': stale['lockstep'] ?? Number.NaN };
  return { ...section, ours: { ...section.ours, ...named } };
}

function mapped<Value, Mapped>(
  values: Readonly<Record<string, Value>>,
  figure: (value: Value) => Mapped,
): Record<string, Mapped> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, figure(value)]));
}

/** By side and then by case, as the other sections have it. */
function besidePeers(cases: Readonly<Record<string, CaseResult>>): Section {
  const bySide = (of: (result: CaseResult) => Readonly<Record<string, number>>): Record<string, Figures> => {
    const sides: Record<string, Record<string, number>> = {};
    for (const [name, result] of Object.entries(cases)) {
      for (const [side, figure] of Object.entries(of(result))) {
        sides[side] ??= {};
        sides[side][name] = figure;
      }
    }
    return sides;
  };
  return {
    ours: mapped(cases, ({ ours }) => ours),
    peers: bySide(({ peers }) => peers),
    limit: bySide(({ limit = {} }) => limit),
    ratio: bySide(({ ratio }) => ratio),
    spread: mapped(cases, ({ spread }) => spread['lockstep'] ?? [Number.NaN, Number.NaN]),
    unit: mapped(cases, ({ unit }) => unit),
  };
}
