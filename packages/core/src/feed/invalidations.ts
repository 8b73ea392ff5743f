import type { InvalidateCommand } from '../contracts/cache-commands.js';
import type { Change } from '../contracts/feed.js';
import type { RecordedCollection } from '../contracts/registry.js';
import { NO_VERSION } from '../contracts/version.js';
import { lookupKeyOf } from '../protocol/lookup.js';
import { addTagsOf } from '../protocol/tags.js';

/** A change, as far as it says what is to be made unreadable. */
export type RowChange = Pick<Change, 'key' | 'version' | 'texts'>;

/**
 * The commands that bring each of these collections in step with each of these changes of their table.
 *
 * @param replayed changes that tell what rows have now, and nothing of what they had
 */
export function invalidations(
  changes: readonly RowChange[],
  collections: readonly RecordedCollection[],
  replayed = false,
): InvalidateCommand[] {
  const commands: InvalidateCommand[] = [];
  const tags = new Set<string>();
  for (const change of changes) {
    const { key, version } = change;
    for (const collection of collections) {
      const { holeOnEmpty, holeTtlMs, keyPrefix, lookup } = collection;
      if (collection.tags !== undefined) {
        const { key, texts } = change;
        addTagsOf(replayed ? { key } : { key, texts }, collection.tags, keyPrefix, tags);
        continue;
      }
      if (lookup === undefined) {
        commands.push({ kind: 'invalidate', key: keyPrefix + key, version, holeTtlMs, holeOnEmpty });
        continue;
      }
      for (const found of lookupKeys(change, lookup)) {
        const pointer = { key: keyPrefix + found, version: NO_VERSION, holeTtlMs, holeOnEmpty };
        commands.push({ kind: 'invalidate', ...pointer });
      }
    }
  }
  // One command for each tag, however many changes name it.
  for (const key of tags) commands.push(tagInvalidation(key));
  return commands;
}

/** False where a change does not tell what the row had and gets of a lookup's columns: any of its pointers may be wrong. */
export function tells({ texts }: RowChange, { lookup }: RecordedCollection): boolean {
  if (lookup === undefined) return true;
  return texts?.every((state) => lookup.every((column) => state[column] !== undefined)) ?? false;
}

/** Ends a tag. Nothing is left of it: a tag that is missing equals nothing. */
export function tagInvalidation(key: string): InvalidateCommand {
  return { kind: 'invalidate', key, version: NO_VERSION, holeTtlMs: 0, holeOnEmpty: false };
}

/** The keys in a lookup of what the row had, has or gets. */
function lookupKeys({ texts = [] }: RowChange, columns: readonly string[]): Set<string> {
  return new Set(texts.flatMap((state) => lookupKeyOf(columns, state) ?? []));
}
