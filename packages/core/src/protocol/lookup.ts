import type { ColumnTexts } from '../contracts/declared.js';
import { MAX_NAME_LENGTH } from '../contracts/job-problem.js';
import { encodePart, MAX_KEY_LENGTH, prefixStart } from './key.js';

/*
 * A lookup (a unique set of a collection) is recorded, and cached, like a collection of its own, whose keys are made of the
 * columns' texts.
 */

/** A collection's name and its columns': with a prefix of any length it starts keys that fit a job. */
export const MAX_LOOKUP_NAME_LENGTH = 3 * MAX_NAME_LENGTH;

/** `%by-` is in no encoded name of a collection. */
function suffix(columns: readonly string[]): string {
  return `%by-${columns.map((column) => encodePart(column).replaceAll(',', '%2C')).join(',')}`;
}

/** The name that a lookup is recorded by. */
export function lookupName(collection: string, columns: readonly string[]): string {
  return `${collection}${suffix(columns)}`;
}

/** The start of a lookup's cache keys, by its name; `undefined`: it is no name of one. */
export function lookupPrefix(prefix: string, name: string, columns: readonly string[]): string | undefined {
  const end = suffix(columns);
  if (!name.endsWith(end)) return undefined;
  return `${prefixStart(prefix)}${encodePart(name.slice(0, -end.length))}${end}:`;
}

/** The key of these texts, in the order of the columns; `undefined`: nothing can be looked up by them. */
export function lookupKey(texts: readonly (string | null | undefined)[]): string | undefined {
  const parts: string[] = [];
  for (const text of texts) {
    // Without a value, or too long to be told as it is.
    if (text === null || text === undefined || !text.startsWith('=')) return undefined;
    parts.push(encodePart(text));
  }
  const key = parts.join(':');
  return key === '' || key.length > MAX_KEY_LENGTH ? undefined : key;
}

/** The key of a row's texts. */
export function lookupKeyOf(columns: readonly string[], texts: ColumnTexts): string | undefined {
  return lookupKey(columns.map((column) => texts[column]));
}

/** The texts that a key was made of. */
export function textsOfKey(key: string): string[] {
  return key.split(':').map((part) => part.replaceAll('%3A', ':').replaceAll('%25', '%'));
}
