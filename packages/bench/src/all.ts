import { BULK, type BulkOptions, runBulk } from './bulk.js';
import { CONTENTION, type ContentionOptions, runContention } from './contention.js';
import { HITS, type HitsOptions, runHits } from './hits.js';
import { NEAR_BENCH, type NearBenchOptions, runNear } from './near.js';
import type { CaseResult } from './peers/figures.js';
import { MIX, type MixOptions, runMix } from './peers/mix.js';
import { runStampede, STAMPEDE, type StampedeOptions } from './peers/stampede.js';
import { runWrites, WRITES, type WritesOptions } from './peers/writes.js';
import { PLANS, type PlansOptions, runPlans } from './plans.js';
import { RELAY_BENCH, type RelayBenchOptions, runRelay } from './relay.js';

/** Figures by the name of the case. */
type Figures = Readonly<Record<string, number>>;

/** One suite's figures in the form that all of them have. */
export interface Section {
  readonly ours: Figures;
  readonly peers: Readonly<Record<string, Figures>>;
  /** What nobody can beat, or must not be passed: by its name. */
  readonly limit: Readonly<Record<string, Figures>>;
  /** Ours ÷ theirs, by the other side's name. */
  readonly ratio: Readonly<Record<string, Figures>>;
}

export interface AllOptions {
  readonly hits: HitsOptions;
  readonly near: NearBenchOptions;
  readonly writes: WritesOptions;
  readonly contention: ContentionOptions;
  readonly plans: PlansOptions;
  readonly relay: RelayBenchOptions;
  readonly bulk: BulkOptions;
  readonly stampede: StampedeOptions;
  readonly mix: MixOptions;
}

export const ALL: AllOptions = {
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
};

export type AllResult = Readonly<
  Record<
    'reads' | 'getMany' | 'near' | 'writes' | 'contention' | 'plans' | 'relay' | 'bulk' | 'stampede' | 'mix',
    Section
  >
>;

/** Every suite, one after the other, on servers of its own. */
export async function runAll(options: AllOptions, progress: (line: string) => void): Promise<AllResult> {
  const hits = await runHits(options.hits, progress);
  const near = await runNear(options.near, progress);
  const writes = await runWrites(options.writes, progress);
  const contention = await runContention(options.contention, progress);
  const plans = await runPlans(options.plans, progress);
  const relay = await runRelay(options.relay, progress);
  const bulk = await runBulk(options.bulk, progress);
  const stampede = await runStampede(options.stampede, progress);
  const mix = await runMix(options.mix, progress);
  const medians = (cases: (typeof hits)['reads']): Section => ({
    ours: mapped(cases, ({ ours }) => ours.median),
    peers: {},
    limit: { 'the bare client': mapped(cases, ({ limit }) => limit.median) },
    ratio: { 'the bare client': mapped(cases, ({ ratio }) => ratio.median) },
  });
  return {
    reads: medians(hits.reads),
    getMany: medians(hits.getMany),
    near: {
      ours: near.ours,
      peers: near.peers,
      limit: { 'lru-cache': near.limit },
      ratio: { bentocache: near.ratio },
    },
    writes: besidePeers(writes),
    contention: {
      ours: mapped(contention.sides, ({ ours }) => ours.perSecond),
      peers: { 'by hand': mapped(contention.sides, ({ theirs }) => theirs.perSecond) },
      limit: {},
      ratio: { 'by hand': contention.ratio },
    },
    plans: {
      ours: { statements: plans.explained, 'beyond the limit': plans.excesses.length },
      peers: {},
      limit: { 'of buffers': { 'beyond the limit': 0 } },
      ratio: {},
    },
    relay: { ours: mapped(relay.drains, ({ perSecond }) => perSecond), peers: {}, limit: {}, ratio: {} },
    bulk: {
      ours: mapped(bulk.statements, ({ ms }) => ms.attached),
      peers: {},
      limit: {
        'a plain table': mapped(bulk.statements, ({ ms }) => ms.plain),
        'stamping alone': mapped(bulk.statements, ({ ms }) => ms.stamped),
      },
      ratio: {
        'a plain table': mapped(bulk.statements, ({ ratio }) => ratio.attached),
        'a plain table, bulk: true': mapped(bulk.statements, ({ ratio }) => ratio.bulk),
      },
    },
    stampede: besidePeers(stampede),
    mix: {
      ...besidePeers(mix.cases),
      ours: { ...mapped(mix.cases, ({ ours }) => ours), 'stale keys': mix.stale['lockstep'] ?? Number.NaN },
    },
  };
}

function mapped<Value>(
  values: Readonly<Record<string, Value>>,
  figure: (value: Value) => number,
): Record<string, number> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, figure(value)]));
}

/** By side and then by case, as the other sections have it. */
function besidePeers(cases: Readonly<Record<string, CaseResult>>): Section {
  const bySide = (of: (result: CaseResult) => Readonly<Record<string, number>>): Record<string, Figures> => {
    const sides = new Set(Object.values(cases).flatMap((result) => Object.keys(of(result))));
    return Object.fromEntries(
      [...sides].map((side) => {
        // Not every side has every case.
        const own = Object.entries(cases).filter(([, result]) => side in of(result));
        return [side, mapped(Object.fromEntries(own), (result) => of(result)[side] ?? Number.NaN)];
      }),
    );
  };
  return {
    ours: mapped(cases, ({ ours }) => ours),
    peers: bySide(({ peers }) => peers),
    limit: bySide(({ limit = {} }) => limit),
    ratio: bySide(({ ratio }) => ratio),
  };
}
