import { type ProcessorTimes, perCall } from './processor.js';
import { PRODUCTS, type Product, product } from './product.js';
import type { Bench, Side } from './sides.js';
import { type CostedTurn, median, middleTurn, TURN_MS, turn } from './turn.js';

/** The benchmark's result. Ratios are ours ÷ theirs, medians over the turns. */
export interface BurstResult {
  readonly store: string;
  readonly turns: number;
  /** The servers' settings beyond their defaults. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Writes per second, but for `single`: the median latency of one writer alone, where less is better. */
  readonly ratio: {
    readonly writers256: number;
    readonly hotKey: number;
    readonly increment: number;
    readonly single: number;
  };
  /** Callers' writes per statement with 1,000 writers on one key. */
  readonly hotKeyWritesPerStatement: number;
  /** True when the sum of all increments of all turns is exact. */
  readonly incrementExact: boolean;
  /** Medians of both sides' turns. */
  readonly sides: Readonly<Record<string, { readonly ours: CostedTurn; readonly theirs: CostedTurn }>>;
}

/** Calls of one kind, and how many are under way at once. */
export interface Scenario {
  readonly name: string;
  readonly writers: number;
  readonly call: (side: Side, n: number) => Promise<unknown>;
}

const HOT = '7';

let revision = 0;

/** A product that differs from what is there: a database may leave out a write that changes nothing. */
function changed(n: number): Product {
  return { ...product(n), stock: ++revision };
}

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'writers256',
    writers: 256,
    // A stride that shares no factor with the number of keys: neighbours in time are not neighbours in the table.
    call: (side, n) => side.put(changed((n * 7_919) % PRODUCTS)),
  },
  {
    name: 'hotKey',
    writers: 1_000,
    call: (side, n) => side.put({ ...changed(n), id: HOT }),
  },
  {
    name: 'increment',
    writers: 1_000,
    call: (side) => side.increment(HOT, 1),
  },
  {
    name: 'single',
    writers: 1,
    call: (side, n) => side.put(changed((n * 7_919) % PRODUCTS)),
  },
];

/** The scenarios' names on the command line. */
export const SCENARIO_NAMES: readonly string[] = [...SCENARIOS.map(({ name }) => name), 'bufferAck'];

/** Runs the scenarios turn by turn, the sides one after the other and changing places. */
export async function runBursts(
  bench: Bench,
  store: string,
  turns: number,
  only: readonly string[],
  progress: (line: string) => void,
): Promise<BurstResult> {
  const sides: Record<string, { ours: CostedTurn; theirs: CostedTurn }> = {};
  const ratio: Record<string, number> = {};
  let hotKeyWritesPerStatement = Number.NaN;
  let incrementExact = true;
  for (const scenario of SCENARIOS.filter(({ name }) => only.includes(name))) {
    const measured = { ours: [] as CostedTurn[], theirs: [] as CostedTurn[] };
    const perStatement: number[] = [];
    for (let round = 0; round <= turns; round++) {
      for (const name of round % 2 === 0 ? (['ours', 'theirs'] as const) : (['theirs', 'ours'] as const)) {
        const side = bench[name];
        const before = scenario.name === 'increment' ? await side.stock(HOT) : 0;
        bench.takeWrites();
        const used = bench.processor();
        const result = await turn(scenario.writers, { ms: TURN_MS }, (n) => scenario.call(side, n));
        const processorUs = perCall(used, bench.processor(), result.calls);
        const { statements } = bench.takeWrites();
        if (scenario.name === 'increment')
          incrementExact &&= (await side.stock(HOT)) === before + result.calls;
        // The first round warms up: connections, plans, compiled code.
        if (round === 0) continue;
        measured[name].push({ ...result, processorUs });
        if (name === 'ours') perStatement.push(result.calls / statements);
      }
    }
    const middle = { ours: middleOf(measured.ours), theirs: middleOf(measured.theirs) };
    sides[scenario.name] = middle;
    const pairs = measured.ours.map((ours, i) => [ours, measured.theirs[i] as CostedTurn] as const);
    ratio[scenario.name] = median(
      pairs.map(([ours, theirs]) =>
        scenario.name === 'single' ? ours.p50Ms / theirs.p50Ms : ours.perSecond / theirs.perSecond,
      ),
    );
    if (scenario.name === 'hotKey') hotKeyWritesPerStatement = median(perStatement);
    progress(
      `${scenario.name}: ratio ${ratio[scenario.name]?.toFixed(2)}\n  ours   ${line(middle.ours)}\n  theirs ${line(middle.theirs)}`,
    );
  }
  return {
    store,
    turns,
    settings: bench.settings,
    ratio: ratio as BurstResult['ratio'],
    hotKeyWritesPerStatement,
    incrementExact,
    sides,
  };
}

function middleOf(turns: readonly CostedTurn[]): CostedTurn {
  const processes = Object.keys(turns[0]?.processorUs ?? {});
  return {
    ...middleTurn(turns),
    processorUs: Object.fromEntries(
      processes.map((name) => [name, median(turns.map((one) => one.processorUs[name] ?? Number.NaN))]),
    ),
  };
}

function line({ p50Ms, p99Ms, perSecond, processorUs }: CostedTurn): string {
  return `${Math.round(perSecond)}/s p50 ${p50Ms.toFixed(2)} p99 ${p99Ms.toFixed(2)} ms, µs of ${costs(processorUs)}`;
}

function costs(times: ProcessorTimes): string {
  return Object.entries(times)
    .map(([name, us]) => `${name} ${us.toFixed(1)}`)
    .join(' ');
}
