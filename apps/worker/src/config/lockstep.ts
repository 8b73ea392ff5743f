import { InvalidOptionError, type Lockstep } from '@lockstep/core';
import type { WorkerConfig } from '../define.js';

/** The Lockstep of a configuration, made where that has a function for it. Rejects with `InvalidOptionError` for anything else. */
export async function lockstepOf({ lockstep }: Pick<WorkerConfig, 'lockstep'>): Promise<Lockstep> {
  const made = typeof lockstep === 'function' ? await lockstep() : lockstep;
  if (isLockstep(made)) return made;
  throw new InvalidOptionError('worker.lockstep', 'must be a Lockstep, or a function that returns one');
}

function isLockstep(value: unknown): value is Lockstep {
  return typeof (value as { readonly startRelay?: unknown } | null | undefined)?.startRelay === 'function';
}
