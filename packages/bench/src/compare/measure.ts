/** The child of a comparison: measures one suite of the checkout that it stands in, and sends the figures to its parent. */
import { mongoBench } from '../bursts/mongo.js';
import { postgresBench } from '../bursts/postgres.js';
import { type ProcessorTimes, perCall } from '../bursts/processor.js';
import { SCENARIOS } from '../bursts/scenarios.js';
import { turn } from '../bursts/turn.js';
import { READERS, readBench } from '../reads.js';
import type { SuiteName } from './suites.js';

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
  const measured = READERS.map((callers) => ({ name: `reads ${callers}`, callers, call: bench.ours }));
  return { measured, processor: bench.processor, close: bench.close };
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

const [name, ms] = process.argv.slice(2) as [SuiteName, string];
const suite = await (name === 'reads' ? reads() : writes(name));
const figures: Record<string, number> = {};
try {
  for (const { name: scenario, callers, call } of suite.measured) {
    // The first turn warms up: connections, plans, compiled code.
    await turn(callers, { ms: Number(ms) }, call);
    const before = suite.processor();
    const { calls } = await turn(callers, { ms: Number(ms) }, call);
    const used = perCall(before, suite.processor(), calls);
    figures[scenario] = Object.values(used).reduce((sum, us) => sum + us, 0);
    for (const [process, us] of Object.entries(used)) figures[`${scenario}: ${process}`] = us;
  }
} finally {
  await suite.close();
}
process.send?.(figures);
