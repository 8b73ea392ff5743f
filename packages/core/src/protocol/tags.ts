import { createHash } from 'node:crypto';
import type { CacheHit } from '../contracts/cache-commands.js';
import { keyPrefix } from './key.js';

/*
 * Tags (rule 9) name what views depend on. Those of a collection are recorded like a collection of its own, whose keys are
 * the names below.
 */

/** Replaced when rows may have changed that cannot be told: every view of the collection depends on it. */
export const ALL_ROWS = 'all';
/** Replaced by each buffered write when it is acknowledged: views that have it flushed before they load depend on it. */
export const UNFLUSHED = 'unflushed';
/** Replaced by each change of a row. */
export const ANY_ROW = 'any';

/** The list of the tags of rows that were ended (`ended.ts`). */
export const ENDED = 'ended';

const ID = 'id:';
const WHERE = 'where:';
const HASH = '#';
/** The starts of the names of all tags, but for the list's: none starts with another. */
export const TAG_STARTS = ['a', 'u', ID, WHERE, HASH] as const;

/** Longer names are hashed, so that keys stay short, whatever ids and values are. */
const MAX_NAME_BYTES = 200;

/** Behind the encoded name of a collection, in none of which it is. */
const SUFFIX = '%t';

/** The name that the tags of a collection are recorded by. */
export function tagsName(collection: string): string {
  return collection + SUFFIX;
}

/** The start of the tags' cache keys, by that name; `undefined`: it is none. */
export function tagsPrefix(prefix: string, name: string): string | undefined {
  if (!name.endsWith(SUFFIX)) return undefined;
  return `${keyPrefix(prefix, name.slice(0, -SUFFIX.length)).slice(0, -1)}${SUFFIX}:`;
}

/** The start of a view's cache keys, which no collection's are: `%v` is in no encoded name. */
export function viewPrefix(prefix: string, view: string): string {
  return `${keyPrefix(prefix, view).slice(0, -1)}%v:`;
}

/** Replaced by each change of the row at a key. */
export function rowTag(key: string): string {
  return bounded(ID + key);
}

/**
 * Replaced by each change of a row that had, has or gets these texts. `columns` are sorted; `null`: no value.
 *
 * @param columnsText the columns as JSON, where it is known: views make this name with each hit
 */
export function valueTag(
  columns: readonly string[],
  texts: readonly (string | null)[],
  columnsText = JSON.stringify(columns),
): string {
  return bounded(`${WHERE}[${columnsText},${JSON.stringify(texts)}]`);
}

/** The part of a change that tells which tags it replaces. */
interface TaggedChange {
  readonly key: string;
  readonly texts?: readonly Readonly<Record<string, string | null>>[] | undefined;
}

/** Adds the keys of the tags that a change replaces; where it does not tell the values of a set, that of all rows. */
export function addTagsOf(
  { key, texts }: TaggedChange,
  sets: readonly (readonly string[])[],
  keyPrefix: string,
  keys: Set<string>,
): void {
  keys.add(keyPrefix + ANY_ROW).add(keyPrefix + rowTag(key));
  for (const columns of sets) {
    if (texts === undefined) keys.add(keyPrefix + ALL_ROWS);
    for (const state of texts ?? []) {
      const values = columns.map((column) => state[column]);
      const isKnown = values.every((value) => value !== undefined);
      keys.add(keyPrefix + (isKnown ? valueTag(columns, values as (string | null)[]) : ALL_ROWS));
    }
  }
}

function bounded(name: string): string {
  if (name.length * 3 <= MAX_NAME_BYTES || Buffer.byteLength(name) <= MAX_NAME_BYTES) return name;
  return `${HASH}${createHash('sha256').update(name).digest('hex')}`;
}

/** The token of a tag; `undefined`: there is no tag. */
export function tokenOf(hit: CacheHit | undefined): string | undefined {
  if (hit === undefined || hit.payload === null) return undefined;
  return typeof hit.payload === 'string' ? hit.payload : Buffer.from(hit.payload).toString();
}
