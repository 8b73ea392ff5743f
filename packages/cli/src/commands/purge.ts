import { collectionOf, idOf } from '@lockstep/worker/inspect';
import { Command } from 'commander';
import { confirmed } from '../confirm.js';
import { erase, settled, type Traces, tracesOf } from '../erasure.js';
import { table } from '../output.js';
import { bounded, FOUND, OK, opened, type Session, withSession } from '../session.js';
import { positive } from './verify.js';

interface Flags {
  readonly dryRun: boolean;
  readonly yes?: boolean;
  readonly perSecond: number;
  readonly wait: number;
}

/** What no command line can look into. */
const UNKNOWN = [
  'backups and replicas of the database, its log, and dumps or append-only files of Redis',
  'memory of processes that run: values that they hold, near caches for as long as these may be stale',
  'logs, metrics and traces of your own',
  'rows of other tables that name this one',
] as const;

export function purgeCommand(): Command {
  return new Command('purge')
    .description("removes a person's data: row, entries, pointers, views, dead letters; reports what is left")
    .argument('<collection>')
    .argument('<id>', 'as the application has it; a composite one as JSON')
    .option('--dry-run', 'say what is there, and remove nothing', false)
    .option('--yes', 'do not ask')
    .option('--per-second <n>', 'the most cache entries to look at in a second', positive, 20_000)
    .option('--wait <ms>', 'for the feed and the queue to be done with it', positive, 10_000)
    .addHelpText(
      'after',
      '\nDeletes the row. Walks through all cache keys of the prefix where the table has unique indexes or views.',
    )
    .action(async (name: string, id: string, flags: Flags, command: Command) => {
      await withSession(command, async (session) => {
        const collection = collectionOf(session.lockstep, name);
        await opened(session, [collection], { withCache: true });
        const parsed = idOf(collection, id);
        const key = collection.store.keyOf(parsed as never);
        const target = { collection, id: parsed, key, perSecond: flags.perSecond };
        const found = await tracesOf(session, target);
        const unknown = [...UNKNOWN, ...(await otherCaches(session, collection.store))];
        const tell = (left: Traces | undefined): void => {
          const isClean = left !== undefined && isGone(left);
          session.result(
            {
              collection: name,
              key,
              at: new Date().toISOString(),
              dryRun: flags.dryRun,
              found,
              left: left ?? null,
              isClean,
              unknown,
            },
            [
              ...table(rowsOf(found, left)),
              ...(left === undefined ? [] : [isClean ? 'nothing of it is left' : leftLine(left)]),
              ...noteLines(left ?? found),
              'not looked at:',
              ...unknown.map((each) => `· ${each}`),
            ],
          );
        };
        if (flags.dryRun) {
          tell(undefined);
          return isGone(found) ? OK : FOUND;
        }
        if (!(await confirmed(`Remove ${name} ${id} for good?`, flags.yes))) return FOUND;
        await erase(session, target, found);
        await settled(session, target, flags.wait);
        const left = await tracesOf(session, target);
        tell(left);
        return isGone(left) ? OK : FOUND;
      });
    });
}

/** Of views new entries may have come meanwhile: they were loaded without the row. */
function isGone({ deadLetters, entries, feed, jobs, pointers, row }: Traces): boolean {
  return !row && entries.length + pointers.length + deadLetters.length + feed + jobs === 0;
}

function rowsOf(found: Traces, left: Traces | undefined): string[][] {
  const cells = (what: string, count: (traces: Traces) => number): string[] => [
    what,
    String(count(found)),
    ...(left === undefined ? [] : [String(count(left))]),
  ];
  return [
    ['', 'found', ...(left === undefined ? [] : ['left'])],
    cells('row', ({ row }) => Number(row)),
    cells('cache entries', ({ entries }) => entries.length),
    cells('pointers', ({ pointers }) => pointers.length),
    cells('entries of views', ({ views }) => views.length),
    cells('dead letters', ({ deadLetters }) => deadLetters.length),
    cells('jobs that wait', ({ jobs }) => jobs),
    cells('changes in the feed', ({ feed }) => feed),
  ];
}

function leftLine({ feed, jobs }: Traces): string {
  const waits = feed + jobs > 0 ? ': the feed or the queue is not done with it: is a worker running?' : '';
  return `✗ something of it is left${waits}`;
}

function noteLines({ tombstone }: Traces): string[] {
  return tombstone
    ? ['that it was deleted is remembered, by its key and a version, so that no late write brings it back']
    : [];
}

async function otherCaches(
  session: Session,
  {
    feed,
    source,
  }: { readonly feed?: Session['lockstep']['collections'][number]['store']['feed']; readonly source: string },
): Promise<string[]> {
  if (feed === undefined) return [];
  const consumers = await bounded(session, feed.name, feed.registry.consumers([source]));
  const others = consumers.filter(({ consumer }) => consumer !== session.lockstep.prefix);
  return others.map(
    ({ consumer }) =>
      `the cache of prefix "${consumer}": its relay makes the entry unreadable; run purge there, too`,
  );
}
