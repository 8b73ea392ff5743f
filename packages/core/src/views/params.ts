import { createHash } from 'node:crypto';
import { InvalidIdError } from '../errors.js';
import { isPlain } from '../values/copy.js';

/** Longer texts are hashed. No text begins as a hash does. */
const MAX_TEXT_LENGTH = 300;
const MAX_DEPTH = 20;

/** The part of an entry's key that params are: one for equal params, whatever the order of properties. Throws `InvalidIdError`. */
export function paramsKey(params: unknown, view: string): string {
  const text = textOf(params, 0, (problem) => new InvalidIdError(`view "${view}": params ${problem}`));
  if (text.length <= MAX_TEXT_LENGTH) return text;
  return `#${createHash('sha256').update(text).digest('hex')}`;
}

/** The params that a key tells, where it is their JSON. */
export function paramsOf(key: string): { readonly params: unknown } | undefined {
  // A page's, a hash.
  if (key.startsWith('>') || key.startsWith('#')) return undefined;
  try {
    const params: unknown = JSON.parse(key);
    return { params };
  } catch {
    return key === 'undefined' ? { params: undefined } : undefined;
  }
}

function textOf(value: unknown, depth: number, refusal: (problem: string) => Error): string {
  switch (typeof value) {
    case 'string':
      if (!value.isWellFormed()) throw refusal('must be well-formed Unicode');
      return JSON.stringify(value);
    case 'number':
      if (!Number.isFinite(value)) throw refusal(`must not hold ${value}`);
      return String(value);
    case 'boolean':
      return String(value);
    case 'bigint':
      return `${value}n`;
    case 'undefined':
      return 'undefined';
    case 'object':
      if (value === null) return 'null';
      if (depth > MAX_DEPTH) throw refusal(`must have at most ${MAX_DEPTH} levels`);
      if (Array.isArray(value)) return `[${value.map((each) => textOf(each, depth + 1, refusal)).join()}]`;
      if (isPlain(value)) return objectText(value as Record<string, unknown>, depth, refusal);
      break;
  }
  throw refusal(
    `must be strings, numbers, bigints, booleans, null, arrays and plain objects of these, got ${nameOf(value)}`,
  );
}

function objectText(
  value: Record<string, unknown>,
  depth: number,
  refusal: (problem: string) => Error,
): string {
  const names = Object.keys(value);
  const parts: string[] = [];
  for (const name of names.length === 1 ? names : names.sort()) {
    // A property that is `undefined` is as good as absent.
    if (value[name] === undefined) continue;
    parts.push(`${JSON.stringify(name)}:${textOf(value[name], depth + 1, refusal)}`);
  }
  return `{${parts.join()}}`;
}

function nameOf(value: unknown): string {
  if (typeof value !== 'object') return `a ${typeof value}`;
  return `an instance of ${value?.constructor?.name ?? 'a class'}`;
}
