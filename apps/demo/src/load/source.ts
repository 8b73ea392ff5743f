import { readFile } from 'node:fs/promises';
import { CATALOGUE_MIX, type Mix, parseMixes } from './mix.js';
import type { Trace } from './trace.js';
import { mixStreams, type OperationStream, traceStreams, type WorkloadOptions } from './workload.js';

const TABLE = new URL('../../data/twitter-2020Mar.md', import.meta.url);

/** The mixes by name: the catalogue's and those of the production clusters. */
export async function knownMixes(): Promise<ReadonlyMap<string, Mix>> {
  return new Map([[CATALOGUE_MIX.name, CATALOGUE_MIX], ...parseMixes(await readFile(TABLE, 'utf8'))]);
}

/** The source that the load is drawn from. */
export type LoadSource = { readonly mix: Mix } | { readonly trace: Trace };

export function streamsOf(source: LoadSource, options: WorkloadOptions): OperationStream[] {
  return 'trace' in source ? traceStreams(source.trace, options) : mixStreams(source.mix, options);
}
