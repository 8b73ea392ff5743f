import { InvalidOptionError } from '@lockstep/core';
import { Command } from 'commander';
import { confirmed } from '../confirm.js';
import { bounded, FOUND, OK, withSession } from '../session.js';
import { feedsOf } from '../state.js';

export function forgetCommand(): Command {
  return new Command('forget')
    .description('removes the record of a cache that nobody uses any more, and what is kept for it alone')
    .argument('<prefix>', 'of that cache, as status tells it')
    .option('--yes', 'do not ask')
    .action(async (prefix: string, { yes }: { readonly yes?: boolean }, command: Command) => {
      await withSession(command, async (session) => {
        const { ask, lockstep, result } = session;
        const forgotten: string[] = [];
        const bindings = await Promise.all(
          feedsOf(lockstep).map(async ([feed, sources]) => {
            const recorded = await ask(feed.name, feed.registry.consumers(sources));
            const of = recorded.filter(({ consumer }) => consumer === prefix).map(({ source }) => source);
            return { feed, sources: of };
          }),
        );
        const all = bindings.flatMap(({ sources }) => sources);
        if (all.length === 0) {
          throw new InvalidOptionError('prefix', `no table of this configuration records "${prefix}"`);
        }
        const question = `Forget the cache of prefix "${prefix}" on ${all.join(', ')}?`;
        if (!(await confirmed(question, yes))) return FOUND;
        for (const { feed, sources } of bindings) {
          if (sources.length === 0) continue;
          await bounded(session, feed.name, feed.registry.forget(prefix, sources));
          forgotten.push(...sources);
        }
        result({ prefix, forgotten }, [`forgotten: ${prefix} on ${forgotten.join(', ')}`]);
        return OK;
      });
    });
}
