import type { DeadLetter, DeadLetters } from '@lockstep/core';
import { newest } from '../inspect/traces.js';

/** Letters of one answer, and ids of one call. */
export const MAX_LETTERS = 200;
const MAX_OFFSET = 10_000_000;
/** How many of the newest a filter looks at. */
const MAX_SEARCHED = 5_000;
const MAX_VALUE_LENGTH = 20_000;

export interface LettersQuery {
  readonly offset: number;
  readonly limit: number;
  readonly kind?: DeadLetter['job']['kind'];
  readonly text?: string;
}

export const LETTERS = {
  querystring: {
    type: 'object',
    additionalProperties: false,
    properties: {
      offset: { type: 'integer', minimum: 0, maximum: MAX_OFFSET, default: 0 },
      limit: { type: 'integer', minimum: 1, maximum: MAX_LETTERS, default: 50 },
      kind: { enum: ['invalidate', 'flush', 'unreadable'] },
      text: { type: 'string', minLength: 1, maxLength: 256 },
    },
  },
} as const;

export interface Selection {
  readonly ids?: readonly string[];
}

const ID = { type: 'string', minLength: 1, maxLength: 256 } as const;

export const SELECTION = {
  body: {
    type: 'object',
    additionalProperties: false,
    properties: { ids: { type: 'array', maxItems: MAX_LETTERS, items: ID } },
  },
} as const;

export const ONE = {
  body: { type: 'object', additionalProperties: false, required: ['id'], properties: { id: ID } },
} as const;

/** A dead letter without its value. */
export interface ShownLetter extends Pick<DeadLetter, 'id' | 'error' | 'attempts' | 'failedAtMs'> {
  readonly kind: DeadLetter['job']['kind'];
  readonly collection: string | null;
  readonly key: string | null;
  readonly version: number | null;
  /** True: it holds a value, which can be asked for. */
  readonly hasValue: boolean;
}

/** A page of the letters; with a filter, of those among the newest 5,000 that fit. Values stay where they are. */
export async function letters(
  queue: DeadLetters,
  { kind, limit, offset, text }: LettersQuery,
): Promise<{ readonly letters: readonly ShownLetter[]; readonly searched?: number }> {
  if (kind === undefined && text === undefined)
    return { letters: (await queue.list({ offset, limit })).map(shown) };
  const wanted = text?.toLowerCase();
  const found: ShownLetter[] = [];
  let searched = 0;
  for await (const letter of newest(queue, MAX_SEARCHED)) {
    searched++;
    const one = shown(letter);
    const words = `${one.collection ?? ''} ${one.key ?? ''} ${one.error}`.toLowerCase();
    if ((kind === undefined || one.kind === kind) && (wanted === undefined || words.includes(wanted)))
      found.push(one);
    if (found.length === offset + limit) break;
  }
  return { letters: found.slice(offset), searched };
}

/** The value that a letter holds; `undefined`: there is no such letter among the newest 5,000, or it has none. */
export async function letterValue(queue: DeadLetters, id: string): Promise<string | undefined> {
  for await (const letter of newest(queue, MAX_SEARCHED)) if (letter.id === id) return valueIn(letter);
  return undefined;
}

function shown(letter: DeadLetter): ShownLetter {
  const { attempts, error, failedAtMs, id, job } = letter;
  const common = { id, error, attempts, failedAtMs, kind: job.kind, hasValue: valueIn(letter) !== undefined };
  if (job.kind === 'unreadable') return { ...common, collection: null, key: null, version: null };
  if (job.kind === 'invalidate') return { ...common, collection: null, key: job.key, version: job.version };
  return { ...common, collection: job.collection, key: job.key, version: job.refused?.version ?? null };
}

function valueIn({ job }: DeadLetter): string | undefined {
  if (job.kind === 'unreadable') return job.raw.slice(0, MAX_VALUE_LENGTH);
  if (job.kind === 'invalidate' || job.refused === undefined) return undefined;
  const { encoding, payload } = job.refused;
  if (payload === null) return 'a deletion';
  const text = payload.slice(0, MAX_VALUE_LENGTH);
  return encoding === 'utf8' ? text : `base64: ${text}`;
}
