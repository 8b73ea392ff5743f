import type { DemoOptions } from '../options.js';
import { knownMixes } from './source.js';
import { readTrace } from './trace.js';

/** The load of a run, chosen before anything is started. */
export interface ChosenLoad {
  /** For people: the mix's name, or the trace's file. */
  readonly name: string;
  readonly readShare: number;
  /** Operations per second of all processes together, unless the options say otherwise. */
  readonly perSecond: number;
  readonly notes: readonly string[];
}

/** The classic scenario: 10,000 reads and 100 writes. */
const CATALOGUE_PER_SECOND = 10_100;
/** The mixes of production clusters write much more; this is what a small machine does of any of them. */
const CLUSTER_PER_SECOND = 2_000;

/** Reads the trace, or looks the mix up. Rejects with `TraceFormatError`. */
export async function chooseLoad(options: DemoOptions): Promise<ChosenLoad> {
  if (options.trace !== undefined) {
    const trace = await readTrace(options.trace);
    const kept = `${trace.length} requests for ${trace.keys} keys`;
    return {
      name: options.trace,
      readShare: trace.readShare,
      perSecond: trace.ratePerSecond,
      notes: [`trace: ${kept}${trace.truncated ? ', the rest of the file left out' : ''}`],
    };
  }
  const mix = (await knownMixes()).get(options.mix);
  if (mix === undefined) throw new Error(`--mix: no ${options.mix}`);
  return {
    name: mix.name,
    readShare: mix.readShare,
    perSecond: mix.name === 'catalogue' ? CATALOGUE_PER_SECOND : CLUSTER_PER_SECOND,
    notes: mix.assumptions.map((assumption) => `${mix.name}: ${assumption}`),
  };
}
