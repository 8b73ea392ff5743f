import { LockstepError } from '../errors.js';

interface Concerns {
  readonly collection: string;
  readonly key?: string | undefined;
}

/** Says what an error of Lockstep concerns, as far as it does not say so itself; others stay as they are. */
export function concerning<E>(error: E, { collection, key }: Concerns): E {
  if (!(error instanceof LockstepError)) return error;
  const told = error as { collection: string | undefined; key: string | undefined };
  told.collection ??= collection;
  told.key ??= key;
  return error;
}

/** The error of one row, where it is that of many, whose callers all get it: each gets its own, with its key. */
export function ofOneRow<E extends Error>(error: E, concerns: Concerns): E {
  if (!(error instanceof LockstepError) || error.key !== undefined) return error;
  const own = Object.setPrototypeOf(new Error(error.message), Object.getPrototypeOf(error) as object) as E;
  Object.defineProperties(own, Object.getOwnPropertyDescriptors(error));
  return concerning(own, concerns);
}
