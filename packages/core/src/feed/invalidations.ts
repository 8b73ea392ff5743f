import type { InvalidateCommand } from '../contracts/cache-commands.js';
import type { Change } from '../contracts/feed.js';
import type { RecordedCollection } from '../contracts/registry.js';

/** The commands that bring each of these collections in step with each of these changes of their table. */
export function invalidations(
  changes: readonly Pick<Change, 'key' | 'version'>[],
  collections: readonly RecordedCollection[],
): InvalidateCommand[] {
  const commands: InvalidateCommand[] = [];
  for (const { key, version } of changes) {
    for (const { holeOnEmpty, holeTtlMs, keyPrefix } of collections) {
      commands.push({ kind: 'invalidate', key: keyPrefix + key, version, holeTtlMs, holeOnEmpty });
    }
  }
  return commands;
}
