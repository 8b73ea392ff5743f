import type { BufferedWrites } from '../buffer/buffers.js';
import { foreignEntry } from '../cache/client.js';
import { jobProblem } from '../contracts/job-problem.js';
import type { FlushJob, InvalidateJob, QueueJob } from '../contracts/queue.js';
import type { StoreCapabilities } from '../contracts/store-capabilities.js';
import { isBelievable } from '../contracts/version.js';
import { JobRefusedError, UnsupportedError } from '../errors.js';
import { MAX_KEY_LENGTH, prefixStart } from '../protocol/key.js';
import type { EngineContext } from '../runtime/context.js';

/** A collection as jobs need it. */
interface JobTarget {
  readonly settings: { readonly name: string; readonly holeTtlMs: number };
  readonly keyPrefix: string;
  readonly store: { readonly capabilities: Pick<StoreCapabilities, 'replicaReads'> };
  readonly writes: { readonly buffer: Pick<BufferedWrites, 'flushJob'> | undefined };
}

export interface JobRunnerOptions extends Pick<EngineContext, 'cache' | 'clock' | 'integrity' | 'prefix'> {
  /** The collections that are declared by now. */
  readonly targets: Iterable<JobTarget>;
}

/** The time to live of a hole in a collection that is not declared here. */
const UNKNOWN_HOLE_TTL_MS = 60_000;

/**
 * Does what jobs of the queue ask for. Others may write to the queue's server: a job that no Lockstep of this prefix
 * can have made is refused, alone.
 */
export class JobRunner {
  readonly #options: JobRunnerOptions;
  readonly #start: string;

  constructor(options: JobRunnerOptions) {
    this.#options = options;
    this.#start = prefixStart(options.prefix);
  }

  /** Rejects with `JobRefusedError` where trying again is pointless. */
  async run(job: QueueJob): Promise<void> {
    const problem = jobProblem(job) ?? this.#problem(job);
    if (problem !== undefined) throw new JobRefusedError(`the job is refused: ${problem}`, job);
    if (job.kind === 'flush') await this.#flush(job);
    else await this.#invalidate(job);
  }

  #problem(job: QueueJob): string | undefined {
    if (this.#options.integrity?.accepts(job) === false) return 'its signature is not ours';
    const version = job.kind === 'invalidate' ? job.version : (job.refused?.version ?? 0);
    if (!isBelievable(version, this.#options.clock.now())) return 'its version is in the future';
    if (job.kind === 'flush') return undefined;
    if (!job.key.startsWith(this.#start)) return `its key does not start with ${this.#start}`;
    const separator = job.key.indexOf(':', this.#start.length);
    const length = job.key.length - separator - 1;
    if (separator < 0 || length === 0 || length > MAX_KEY_LENGTH) return 'its key is no cache key';
    return undefined;
  }

  async #flush(job: FlushJob): Promise<void> {
    const buffer = this.#find(({ settings }) => settings.name === job.collection)?.writes.buffer;
    if (buffer === undefined) {
      throw new UnsupportedError(`collection "${job.collection}": nothing here flushes buffered writes`);
    }
    await buffer.flushJob(job);
  }

  async #invalidate({ key, version }: InvalidateJob): Promise<void> {
    const target = this.#find(({ keyPrefix }) => key.startsWith(keyPrefix));
    const { holeTtlMs = UNKNOWN_HOLE_TTL_MS } = target?.settings ?? {};
    // An empty key needs a floor, too, where loads may read a lagging replica, or nothing here says that they do not.
    const holeOnEmpty = target?.store.capabilities.replicaReads ?? true;
    const entry = { key, version, holeTtlMs, holeOnEmpty };
    const { outcome } = await this.#options.cache.run({ kind: 'invalidate', ...entry });
    // The queue keeps it for a release that knows the format.
    if (outcome === 'foreign') throw foreignEntry(key);
  }

  #find(matches: (target: JobTarget) => boolean): JobTarget | undefined {
    for (const target of this.#options.targets) if (matches(target)) return target;
    return undefined;
  }
}
