import { inspect } from 'node:util';
import type { Lockstep } from '@lockstep/core';
import { type Inspection, inspectRow } from '../inspect/inspection.js';

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

export interface ShownInspection extends Inspection {
  /** Only when they were asked for; `null`: there is none. */
  readonly values?: { readonly cached: string | null; readonly stored: string | null };
}

/** One row, as the cache and the store have it; values only when they are asked for. */
export async function inspection(
  lockstep: Lockstep,
  { collection, id, values = false }: InspectBody,
): Promise<ShownInspection> {
  const { cached, stored, ...found } = await inspectRow(lockstep, collection, id);
  return values ? { ...found, values: { cached: shown(cached), stored: shown(stored) } } : found;
}

/** A value for people's eyes, in bounds. */
function shown(value: unknown): string | null {
  if (value === undefined) return null;
  const text = inspect(value, { depth: 6, maxArrayLength: 100, maxStringLength: 2_000, breakLength: 80 });
  return text.length > 20_000 ? `${text.slice(0, 20_000)} …` : text;
}
