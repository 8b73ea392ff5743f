import { availableParallelism, cpus, loadavg, platform, release, totalmem } from 'node:os';

/** What a figure depends on beside the code. */
export interface Machine {
  readonly at: string;
  readonly node: string;
  readonly system: string;
  readonly processor: string;
  readonly cores: number;
  readonly memoryGb: number;
  /** Processes that ran or waited over the last minute: more than the cores, and the figures are of a busy machine. */
  readonly load: number;
}

export function machine(): Machine {
  return {
    at: new Date().toISOString(),
    node: process.version,
    system: `${platform()} ${release()}`,
    processor: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryGb: Math.round(totalmem() / 2 ** 30),
    load: loadavg()[0] ?? Number.NaN,
  };
}
