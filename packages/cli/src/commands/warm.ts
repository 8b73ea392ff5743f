import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { InvalidOptionError, messageOf } from '@lockstep/core';
import { collectionOf, idOf } from '@lockstep/worker/inspect';
import { Command } from 'commander';
import { FOUND, OK, opened, withSession } from '../session.js';
import { positive } from './verify.js';

const BATCH = 200;

export function warmCommand(): Command {
  return new Command('warm')
    .description('reads rows through the cache, so that the next readers find them there')
    .argument('<collection>')
    .argument('<file>', 'one id a line; -: standard input')
    .option('--per-second <n>', 'the most ids in a second', positive, 2_000)
    .action(async (name: string, file: string, flags: { readonly perSecond: number }, command: Command) => {
      await withSession(command, async (session) => {
        const { lockstep, progress, result } = session;
        const collection = collectionOf(lockstep, name);
        // Without the cache the reads would go to the store, and leave nothing behind.
        await opened(session, [collection], { withCache: true });
        const ids = linesOf(file);
        let first: unknown;
        let found = 0;
        let failed = 0;
        const startedAt = performance.now();
        for (let i = 0; i < ids.length; i += BATCH) {
          const batch = ids.slice(i, i + BATCH);
          // Each for itself: an id that is none must not keep the others out.
          const reads = await Promise.allSettled(
            batch.map(async (id) => await collection.calls.get(idOf(collection, id))),
          );
          for (const each of reads) {
            if (each.status === 'fulfilled') continue;
            failed += 1;
            first ??= each.reason;
          }
          found += reads.filter((each) => each.status === 'fulfilled' && each.value !== undefined).length;
          progress(`${name}: ${i + batch.length} of ${ids.length}`);
          await sleep(
            Math.max(0, startedAt + ((i + batch.length) / flags.perSecond) * 1_000 - performance.now()),
          );
        }
        await lockstep.drain();
        const asked = ids.length;
        result({ asked, found, failed }, [
          `${found} of ${asked} rows were found, ${failed} could not be read`,
          ...(failed === 0 ? [] : [`✗ the first of them: ${messageOf(first)}`]),
        ]);
        return failed === 0 ? OK : FOUND;
      });
    });
}

function linesOf(file: string): string[] {
  let text: string;
  try {
    text = readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    throw new InvalidOptionError('file', `can't be read: ${String(error)}`);
  }
  return text.split('\n').flatMap((line) => line.trim() || []);
}
