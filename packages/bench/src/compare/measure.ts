/** The child of a comparison: runs turns of one suite of the checkout that it stands in, as its parent asks for them. */
import { mongoBench } from '../bursts/mongo.js';
import { postgresBench } from '../bursts/postgres.js';
import type { ProcessorTimes } from '../bursts/processor.js';
import { SCENARIOS } from '../bursts/scenarios.js';
import { turn } from '../bursts/turn.js';
import { CASES } from '../hits.js';
import { READERS, readBench } from '../reads.js';
import type { Answered, Asked, SuiteName } from './suites.js';

interface Measured {
  readonly name: string;
  readonly callers: number;
  readonly call: (n: number) => Promise<unknown>;
}

interface Suite {
  readonly measured: readonly Measured[];
  processor(): ProcessorTimes;
  close(): Promise<void>;
}

const POOL = 20;

async function reads(): Promise<Suite> {
  const bench = await readBench();
  const hits = READERS.map((callers) => ({ name: `reads ${callers}`, callers, call: bench.ours }));
  const many = CASES.getMany.map(({ callers, rows }) => ({
    name: `getMany ${callers}`,
    callers,
    call: (n: number) => bench.oursMany(n, rows),
  }));
  return { measured: [...hits, ...many], processor: bench.processor, close: bench.close };
}

async function writes(name: 'postgres' | 'mongo'): Promise<Suite> {
  const bench = await { postgres: postgresBench, mongo: mongoBench }[name](POOL);
  const measured = SCENARIOS.map(({ name: scenario, writers, call }) => ({
    name: `${name} ${scenario}`,
    callers: writers,
    call: (n: number) => call(bench.ours, n),
  }));
  return { measured, processor: bench.processor, close: bench.close };
}

function answer(answered: Answered): void {
  process.send?.(answered);
}

const name = process.argv[2] as SuiteName;
const suite = await (name === 'reads' ? reads() : writes(name));

async function run({ ms, scenario }: Asked): Promise<void> {
  const { call, callers } = suite.measured.find((each) => each.name === scenario) as Measured;
  const before = suite.processor();
  const { calls } = await turn(callers, { ms }, call);
  const after = suite.processor();
  answer({
    calls,
    us: Object.fromEntries(
      Object.keys(after).map((each) => [each, (after[each] ?? 0) - (before[each] ?? 0)]),
    ),
  });
}

process.on('message', (asked: Asked) => void run(asked));
process.once('disconnect', () => void suite.close().then(() => process.exit()));
answer({ scenarios: suite.measured.map((each) => each.name) });
