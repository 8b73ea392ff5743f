import type { CollectionInfo, StoreRepair } from '@lockstep/core';
import type { Command } from 'commander';
import { confirmed } from '../confirm.js';
import { table } from '../output.js';
import { collectionsOf, FOUND, OK, opened, withSession } from '../session.js';
import { isWell, makeUnreadable } from '../verification.js';
import { type CompareFlags, compared, comparing, comparisonLines } from './verify.js';

interface Flags extends Omit<CompareFlags, 'repair'> {
  readonly yes?: boolean;
}

export function repairCommand(): Command {
  return comparing(
    'repair',
    'mends versions that nobody believes, then makes unreadable what differs from the store',
  )
    .option('--yes', 'do not ask')
    .addHelpText(
      'after',
      `
In the store, rows, tombstones and changes with a version that is none, or more than a day ahead of the clock, get one of the
clock: look first whether the server's clock is right. In the cache as verify --repair.`,
    )
    .action(async (names: string[], flags: Flags, command: Command) => {
      await withSession(command, async (session) => {
        const { lockstep, result } = session;
        const collections = collectionsOf(lockstep, names);
        await opened(session, collections, { withCache: true });
        const all = collections.map(({ name }) => name).join(', ');
        if (!(await confirmed(`Repair ${all}, in store and cache?`, flags.yes))) return FOUND;
        const store: StoreRepair[] = [];
        for (const bound of byTable(collections)) {
          const report = await bound[0]?.store.installation?.repair?.();
          if (report === undefined) continue;
          store.push(report);
          // Two stores on one table can't be told from two tables of one name: a key too many costs a miss.
          for (const { keyPrefix, store: other } of collections) {
            if (other.source === bound[0]?.store.source)
              await makeUnreadable(session, keyPrefix, report.keys);
          }
        }
        const cache = await compared(session, collections, { ...flags, repair: true });
        const columns = ['rows', 'tombstones', 'changes'] as const;
        result({ store, cache }, [
          ...table([
            ['store', ...columns],
            ...store.map((each) => [each.source, ...columns.map((column) => String(each[column]))]),
          ]),
          ...comparisonLines(cache),
        ]);
        const changed = store.reduce(
          (sum, { changes, rows, tombstones }) => sum + changes + rows + tombstones,
          0,
        );
        return changed === 0 && cache.every(isWell) ? OK : FOUND;
      });
    });
}

/** The collections of one table together: its rows are repaired once. Two databases may have tables of one name. */
function byTable(collections: readonly CollectionInfo[]): (readonly CollectionInfo[])[] {
  const tables = new Map<unknown, Map<string, CollectionInfo[]>>();
  for (const collection of collections) {
    const { feed, source } = collection.store;
    const database = feed ?? collection.store;
    const bySource = tables.get(database) ?? new Map<string, CollectionInfo[]>();
    tables.set(database, bySource.set(source, [...(bySource.get(source) ?? []), collection]));
  }
  return [...tables.values()].flatMap((bySource) => [...bySource.values()]);
}
