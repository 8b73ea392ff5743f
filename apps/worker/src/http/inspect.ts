import type { Lockstep } from '@lockstep/core';
import { collectionOf, compare, idOf, shown } from '../compare.js';

export interface InspectBody {
  readonly collection: string;
  readonly id: string;
  readonly values?: boolean;
}

export const INSPECT = {
  body: {
    type: 'object',
    additionalProperties: false,
    required: ['collection', 'id'],
    properties: {
      collection: { type: 'string', minLength: 1, maxLength: 128 },
      id: { type: 'string', minLength: 1, maxLength: 1_024 },
      values: { type: 'boolean' },
    },
  },
} as const;

interface Side {
  readonly version: number;
  /** `absent`: the cache knows that there is no row. */
  readonly state: 'value' | 'absent';
  /** Only when it was asked for. */
  readonly value?: string;
}

export interface Inspection {
  readonly collection: string;
  readonly key: string;
  readonly cacheKey: string;
  readonly verdict: string;
  /** `null`: none that a reader would take: nothing, or a hole. */
  readonly entry: Side | null;
  readonly row: Side | null;
}

/** One row, as the cache and the store have it; values only when they are asked for. */
export async function inspection(
  lockstep: Lockstep,
  { collection, id, values = false }: InspectBody,
): Promise<Inspection> {
  const info = collectionOf(lockstep, collection);
  await info.open();
  const key = info.store.keyOf(idOf(info, id) as never);
  const [found] = await compare(lockstep, info, [key]);
  const side = (given: { readonly version: number; readonly value: unknown } | undefined): Side | null => {
    if (given === undefined) return null;
    const state = given.value === null ? 'absent' : 'value';
    return { version: given.version, state, ...(values ? { value: shown(given.value) } : {}) };
  };
  return {
    collection,
    key,
    cacheKey: info.keyPrefix + key,
    verdict: found?.verdict ?? 'not cached',
    entry: side(found?.entry),
    row: side(found?.row),
  };
}
