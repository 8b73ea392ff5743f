import type { Command } from 'commander';
import { BULK, runBulk } from '../bulk.js';
import { bufferAck } from '../bursts/buffer-ack.js';
import { mongoBench } from '../bursts/mongo.js';
import { postgresBench } from '../bursts/postgres.js';
import { runBursts, SCENARIO_NAMES } from '../bursts/scenarios.js';
import { CONTENTION, runContention } from '../contention.js';
import { HITS, runHits } from '../hits.js';
import { LONE, PARTS, runLone } from '../lone.js';
import { NEAR_BENCH, runNear } from '../near.js';
import { PLANS, runPlans } from '../plans.js';
import { runReads } from '../reads.js';
import { RELAY_BENCH, runRelay } from '../relay.js';
import { runStrategies } from '../strategies.js';
import { runViews } from '../views.js';
import { type Flags, json, names, pool, progress, size, store, turnMs, turns, write } from './options.js';

const STORES = { postgres: postgresBench, mongo: mongoBench };

/** The suites of Lockstep beside one other side each: the pattern by hand, the bare client, a plain table. */
export function ownSuites(program: Command): void {
  program
    .command('reads')
    .description("Hits of 1, 16 and 256 readers, against the bare client's GET and JSON.parse.")
    .addOption(json())
    .addOption(turns(5))
    .action(async (flags: Flags) => write(await runReads(flags.turns, progress), flags.json));

  program
    .command('hits')
    .description("Hits by get and getMany, against the bare client's GET, MGET and JSON.parse.")
    .addOption(json())
    .addOption(turns(HITS.turns))
    .addOption(turnMs(HITS.turnMs))
    .action(async (flags: Flags) => write(await runHits({ ...HITS, ...flags }, progress), flags.json));

  program
    .command('near')
    .description('Hits in the process, against the memory layer of bentocache and an LRU by hand.')
    .addOption(json())
    .addOption(turns(NEAR_BENCH.turns))
    .addOption(turnMs(NEAR_BENCH.turnMs))
    .action(async (flags: Flags) =>
      write({ near: await runNear({ ...NEAR_BENCH, ...flags }, progress) }, flags.json),
    );

  program
    .command('bursts')
    .description('Bursts of writes, against an upsert (knex, or the driver of MongoDB) followed by SETEX.')
    .addOption(store())
    .addOption(json())
    .addOption(turns(5))
    .addOption(pool(20))
    .addOption(names('--only <names>', 'scenarios', SCENARIO_NAMES))
    .action(async ({ only, ...flags }: Flags & { readonly only: readonly string[] }) => {
      const bench = await STORES[flags.store](flags.pool);
      const result = await runBursts(bench, flags.store, flags.turns, only, progress).finally(() =>
        bench.close(),
      );
      const bufferAckMs = only.includes('bufferAck')
        ? await bufferAck(flags.store, flags.turns, progress)
        : undefined;
      write({ ...result, bufferAckMs }, flags.json);
    });

  program
    .command('lone')
    .description(
      'Where the time of one writer goes, call by call against an upsert (knex) followed by SETEX.',
    )
    .addOption(json())
    .addOption(size('--calls <n>', 'puts of each side', LONE.calls))
    .action(async ({ calls, json }: Pick<Flags, 'json'> & { readonly calls: number }) => {
      const lone = await runLone({ ...LONE, calls });
      for (const part of [...PARTS, 'all'] as const) {
        const [ours, theirs] = [lone.ours[part], lone.theirs[part]].map((us) => String(us).padStart(6));
        progress(`${part.padEnd(34)}${ours} µs  by hand${theirs} µs`);
      }
      write({ lone }, json);
    });

  program
    .command('contention')
    .description('One hot row, against SELECT … FOR UPDATE (knex) followed by SETEX.')
    .addOption(json())
    .addOption(turns(CONTENTION.turns))
    .addOption(turnMs(CONTENTION.turnMs))
    .addOption(pool(CONTENTION.pool))
    .action(async (flags: Flags) =>
      write({ contention: await runContention({ ...CONTENTION, ...flags }, progress) }, flags.json),
    );

  program
    .command('strategies')
    .description(
      'Write-through, cache-aside and write-behind, with the store at its own speed and 50 ms late.',
    )
    .addOption(store())
    .addOption(json())
    .addOption(turns(5, 'measured turns of each strategy, after one that warms up'))
    .action(async (flags: Flags) =>
      write(await runStrategies(flags.store, flags.turns, progress), flags.json),
    );

  program
    .command('views')
    .description("Views' hits against rows', writes with 0, 1 and 4 tags, and the end of a tag.")
    .addOption(json())
    .addOption(turns(5))
    .addOption(size('--views <n>', 'views behind the tag that ends', 1_000_000))
    .action(async ({ views, ...flags }: Flags & { readonly views: number }) =>
      write(await runViews(flags.turns, views, progress), flags.json),
    );

  feedSuites(program);
}

/** The suites of what others write, and of the statements' plans. */
function feedSuites(program: Command): void {
  program
    .command('plans')
    .description('Explains every statement. Fails where one touches more than 20 + 10 buffers for each row.')
    .addOption(json())
    .addOption(size('--largest <n>', 'rows of the largest table', PLANS.sizes.at(-1) ?? 1))
    .addOption(size('--feed <n>', 'records of a full feed', PLANS.feed))
    .action(
      async ({ feed, largest, ...flags }: Flags & { readonly feed: number; readonly largest: number }) => {
        const sizes = PLANS.sizes.filter((each) => each <= largest);
        const plans = await runPlans({ feed, sizes }, progress);
        write({ plans }, flags.json);
        if (plans.excesses.length > 0) process.exitCode = 1;
      },
    );

  program
    .command('relay')
    .description('A backlog of changes that others have made, drained by one relay.')
    .addOption(json())
    .addOption(turns(RELAY_BENCH.turns, 'backlogs of each kind'))
    .addOption(pool(RELAY_BENCH.pool, "the relay's connections to the database"))
    .addOption(size('--changes <n>', 'changes of a backlog', RELAY_BENCH.changes))
    .action(async (flags: Flags & { readonly changes: number }) =>
      write({ relay: await runRelay({ ...RELAY_BENCH, ...flags }, progress) }, flags.json),
    );

  program
    .command('bulk')
    .description('Statements of others that write many rows at once: attached tables against a plain one.')
    .addOption(json())
    .addOption(turns(BULK.turns))
    .addOption(size('--rows <n>', 'rows of a statement', BULK.rows))
    .action(async (flags: Flags & { readonly rows: number }) =>
      write({ bulk: await runBulk({ ...BULK, ...flags }, progress) }, flags.json),
    );
}
