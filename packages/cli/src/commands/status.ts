import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import { table } from '../output.js';
import { type Process, percent } from '../processes.js';
import { askWithin, FOUND, OK, withSession } from '../session.js';
import { type State, stateOf } from '../state.js';

const WATCH_MS = 1_000;

export function statusCommand(): Command {
  return new Command('status')
    .description('what is wrong and the command that mends it; lag, backlog, hit rate, who uses the cache')
    .option('--watch', 'again each second, until it is ended')
    .action(async (flags: { readonly watch?: boolean }, command: Command) => {
      await withSession(command, async (session) => {
        const { lockstep, timeoutMs } = session;
        for (;;) {
          const state = await stateOf({ lockstep, timeoutMs, ask: askWithin(timeoutMs) });
          if (flags.watch && process.stdout.isTTY) console.clear();
          session.result(state, linesOf(state));
          if (!flags.watch) return state.well ? OK : FOUND;
          await sleep(WATCH_MS);
        }
      });
    });
}

function kindOf({ command, relay }: Process): string {
  if (command !== undefined) return `lockstep ${command}`;
  return relay === undefined ? 'application' : 'relay';
}

function linesOf(state: State): string[] {
  const { cache, collections, consumers, feeds, hitRate, notes, prefix, problems, processes, queue } = state;
  const own = consumers.filter(({ isOwn }) => isOwn);
  const figures = [
    ...collections.map(({ name, unflushed }) => [
      `collection ${name}`,
      unflushed === undefined ? '' : `${unflushed} unflushed`,
      '',
    ]),
    ...feeds.map(({ name, oldestMs, pending }) => [
      `feed ${name}`,
      pending === undefined ? 'no answer' : `${pending} pending`,
      oldestMs === undefined ? '' : `oldest ${Math.round(oldestMs)} ms`,
    ]),
    ...(queue === null
      ? []
      : [
          [
            `queue ${queue.name}`,
            `${queue.waiting + queue.delayed} waiting, ${queue.active} active`,
            `${queue.dead} dead`,
          ],
        ]),
    ...own.map(({ collections: names, source }) => [`recorded ${source}`, names.join(', '), '']),
  ];
  const rows = processes.map((each) => [
    `${kindOf(each)} ${each.name}`,
    `pid ${each.pid}`,
    `hit rate ${percent(each.hitRate)}`,
    `breaker ${each.breaker}`,
    each.relay === undefined ? '' : `lag p99 ${each.relay.lagP99Ms} ms`,
  ]);
  return [
    ...(problems.length === 0 ? ['all is well'] : problems.map((problem) => `✗ ${problem}`)),
    ...notes.map((note) => `· ${note}`),
    '',
    `prefix ${prefix}, hit rate ${percent(hitRate)}`,
    ...(cache === null ? [] : [`cache ${cache}`]),
    ...table(figures),
    ...table(rows),
  ];
}
