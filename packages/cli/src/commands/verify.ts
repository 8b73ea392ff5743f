import type { CollectionInfo } from '@lockstep/core';
import { Command, InvalidArgumentError } from 'commander';
import { table } from '../output.js';
import { Checkpoint } from '../progress.js';
import { collectionsOf, FOUND, OK, opened, type Session, withSession } from '../session.js';
import { isWell, type Verified, verifyCollection } from '../verification.js';

export interface CompareFlags {
  readonly repair: boolean;
  readonly perSecond: number;
  readonly lag: number;
  readonly limit?: number;
  readonly resume?: string;
}

export function positive(text: string): number {
  const number = Number(text);
  if (Number.isInteger(number) && number > 0 && number <= 2 ** 31) return number;
  throw new InvalidArgumentError('must be a whole number above 0.');
}

export function verifyCommand(): Command {
  return comparing('verify', 'compares what is cached with the store, key by key')
    .option('--repair', 'make unreadable what is wrong, so that it is loaded anew', false)
    .addHelpText('after', '\nReads the store, where writes go, in batches. Changes nothing without --repair.')
    .action(async (names: string[], flags: CompareFlags, command: Command) => {
      await withSession(command, async (session) => {
        const collections = collectionsOf(session.lockstep, names);
        await opened(session, collections, { withCache: true });
        const results = await compared(session, collections, flags);
        session.result(results, comparisonLines(results));
        return results.every(isWell) ? OK : FOUND;
      });
    });
}

export function comparing(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .argument('[collections...]', 'all unless some are named')
    .option('--per-second <n>', 'the most entries in a second', positive, 5_000)
    .option(
      '--lag <ms>',
      'how long the relay may take: what is in step by then was never wrong',
      positive,
      2_000,
    )
    .option('--limit <n>', 'stop after so many entries of a collection', positive)
    .option('--resume <file>', 'note in it how far this has come, and go on from there the next time');
}

/** How far a run has come: collections that are done, and the one under way without an end. */
type Saved = Readonly<Record<string, Verified & { readonly isDone: boolean }>>;

export type Comparison = { readonly collection: string } & Verified;

/** Of collections that are open. */
export async function compared(
  session: Session,
  collections: readonly CollectionInfo[],
  flags: CompareFlags,
): Promise<readonly Comparison[]> {
  const { lag, limit, perSecond, repair, resume } = flags;
  const checkpoint = new Checkpoint<Saved>(resume);
  let saved: Saved = checkpoint.read() ?? {};
  const results: Comparison[] = [];
  for (const collection of collections) {
    const { name } = collection;
    const save = (found: Verified, isDone = false): void => {
      saved = { ...saved, [name]: { ...found, isDone } };
      checkpoint.write(saved);
    };
    const before = saved[name];
    const limited = limit === undefined ? {} : { limit };
    const found = before?.isDone
      ? before
      : await verifyCollection(session, collection, {
          lag,
          perSecond,
          repair,
          from: before,
          save,
          ...limited,
        });
    save(found, true);
    results.push({ collection: name, ...withoutNotes(found) });
  }
  checkpoint.remove();
  return results;
}

export function comparisonLines(results: readonly Comparison[]): string[] {
  const columns = ['inStep', 'notJudged', 'stale', 'different', 'ahead', 'unreadable', 'repaired'] as const;
  return [
    ...table([
      ['collection', ...columns],
      ...results.map((each) => [each.collection, ...columns.map((column) => String(each[column]))]),
    ]),
    ...results.flatMap((each) => each.keys.map((key) => `✗ ${each.collection} ${key}`)),
  ];
}

function withoutNotes(found: Verified & { readonly isDone?: boolean }): Verified {
  const { isDone: _, position: __, ...counts } = found;
  return counts;
}
