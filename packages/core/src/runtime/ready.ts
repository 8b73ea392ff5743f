import { SIGNAL } from '../collection/call-options.js';
import type { OpenOptions } from '../contracts/options.js';
import { NotReadyError, type NotReadyProblem } from '../errors.js';
import { DAY_MS, type OptionsOf, option, withDefaults } from '../kit/options.js';
import { Deadline } from '../kit/wait.js';
import type { Collections } from './collections.js';
import type { EngineContext } from './context.js';

export const OPEN = {
  timeoutMs: option.integer(10_000, 1, DAY_MS),
  signal: SIGNAL,
} satisfies OptionsOf<OpenOptions>;

export interface ReadyParts extends Pick<EngineContext, 'adapter' | 'cache' | 'clock' | 'queue'> {
  /** The start of the probes' keys. */
  readonly prefix: string;
  readonly collections: Collections;
}

/** Opens and asks everything, each within the time. Rejects with `NotReadyError`, which names all that is wrong. */
export async function openAll(parts: ReadyParts, options: OpenOptions): Promise<void> {
  const { signal, timeoutMs } = withDefaults(options, OPEN, 'open');
  const { adapter, clock, collections, queue } = parts;
  const asked: Promise<NotReadyProblem[]>[] = [];
  const ask = (part: NotReadyProblem['part'], name: string, work: () => Promise<unknown>): void => {
    const late = (): Error => new Error(`no answer within ${timeoutMs} ms`);
    const deadline = new Deadline({ clock, timeoutMs, late, signal });
    const found = (error: unknown): NotReadyProblem[] => [{ part, name, error }];
    asked.push(deadline.run(work).then(() => [], found));
  };
  for (const { opening, settings } of collections) ask('collection', settings.name, () => opening.open());
  ask('cache', adapter.name, () => probed(parts));
  if (queue !== undefined) ask('queue', queue.name, () => queue.status());
  const problems = (await Promise.all(asked)).flat();
  signal?.throwIfAborted();
  if (problems.length > 0) throw new NotReadyError(problems);
}

/** Every primary must take invalidations, and be as new as the adapter needs it; one that does not tell its version may be. */
async function probed({ adapter, cache, prefix }: ReadyParts): Promise<void> {
  await cache.open();
  for (const [primary, proof] of await adapter.probe(prefix)) {
    if (!(proof instanceof Error)) continue;
    if (primary === '') throw proof;
    throw new Error(`${primary}: ${proof.message}`, { cause: proof });
  }
  const { description, outdated } = (await adapter.info().catch(() => undefined)) ?? {};
  if (outdated !== undefined) throw new Error(`${description}: ${outdated}`);
}
