import { inspect } from 'node:util';
import {
  collectionOf,
  type EntryFacts,
  type FeedFacts,
  inspectRow,
  type QueueFacts,
  versionLine,
} from '@lockstep/worker/inspect';
import { Command } from 'commander';
import { FOUND, OK, opened, withSession } from '../session.js';

export function inspectCommand(): Command {
  return new Command('inspect')
    .description(
      'one row, as the cache and the store have it: versions, writers, expiry, tags, feed and queue',
    )
    .argument('<collection>')
    .argument('<id>', 'as the application has it; a composite one as JSON: \'["acme","colour"]\'')
    .option('--values', 'print the values, too', false)
    .action(async (name: string, id: string, flags: { readonly values: boolean }, command: Command) => {
      await withSession(command, async (session) => {
        const { ask, lockstep, result } = session;
        await opened(session, [collectionOf(lockstep, name)], { withCache: true });
        const { cached, stored, ...found } = await ask(`${name} ${id}`, inspectRow(lockstep, name, id));
        const { cacheKey, entry, feed, isWell, pointers, problem, queue, row, tags, verdict } = found;
        result({ ...found, ...(flags.values ? { cached, stored } : {}) }, [
          `cache key  ${cacheKey}`,
          `entry      ${entry === null ? 'none' : `${entryLine(entry)}, ${versionLine(entry)}`}`,
          `row        ${row === null ? 'none' : versionLine(row)}`,
          `verdict    ${problem === null ? verdict : `${verdict}: ${problem}`}`,
          ...tags.map((columns) => `views by   ${columns}`),
          ...pointers.map((columns) => `found by   ${columns}`),
          ...feedLines(feed),
          ...queueLines(queue),
          ...(flags.values ? [`cached     ${inspect(cached)}`, `stored     ${inspect(stored)}`] : []),
        ]);
        return isWell ? OK : FOUND;
      });
    });
}

function entryLine({ bytes, expiresInMs, knownAbsent, state, unflushed }: EntryFacts): string {
  const kind = knownAbsent ? 'hole, known to be absent' : state;
  const size = bytes === 0 ? '' : ` of ${bytes} bytes`;
  const left = expiresInMs === null ? 'until it is flushed' : `for ${seconds(expiresInMs)}`;
  return `${kind}${size}${unflushed ? ', unflushed' : ''}, ${left}`;
}

function seconds(ms: number): string {
  return ms < 10_000 ? `${Math.round(ms)} ms` : `${Math.round(ms / 1_000)} s`;
}

function feedLines(feed: FeedFacts | null): string[] {
  if (feed === null) return [];
  const { changes, tombstone } = feed;
  return [
    ...changes.map((change) => {
      const by = change.done.length === 0 ? '' : `, dealt with by ${change.done.join(', ')}`;
      return `feed       ${change.op}, ${versionLine(change)}${by}`;
    }),
    ...(tombstone === null ? [] : [`deleted    ${versionLine(tombstone)}`]),
    ...(changes.length === 0 ? ['feed       nothing of it waits'] : []),
  ];
}

function queueLines(queue: QueueFacts | null): string[] {
  if (queue === null) return [];
  const { deadLetters, jobs } = queue;
  return [`queue      ${jobs ?? 'unknown'} jobs, ${deadLetters} dead letters of it`];
}
