import { setTimeout as after } from 'node:timers/promises';
import type { Knex } from 'knex';
import type { Member } from './member.js';
import { type Fleet, infoOf, openFleet } from './servers.js';

export interface IdleOptions {
  /**
   * How long the worker is watched, after as long again in which it settles (10 s at most): at least so long, and until
   * it has sent something to each server.
   */
  readonly ms: number;
}

export const IDLE: IdleOptions = { ms: 30_000 };

/** What a worker costs that has nothing to do. */
export interface IdleResult {
  readonly settings: Readonly<Record<string, unknown>>;
  /** Its processor time in a second, in ms. */
  readonly processorMs: number;
  /** Commands that it sends in a second, to the cache's Redis and to the queue's. */
  readonly cacheCommands: number;
  readonly queueCommands: number;
  /** Statements that it sends to the database in a second, transactions' own included. */
  readonly statements: number;
  readonly rss: number;
  readonly heap: number;
}

/** How long a worker is waited for that sends nothing. */
const SILENT_MS = 60_000;
const BETWEEN_SAMPLES_MS = 200;
const COUNTS = ['cacheCommands', 'queueCommands', 'statements'] as const;

/** Every statement is a line of the log, which the database itself reads. */
const LOGGED = {
  logging_collector: true,
  log_filename: 'statements.log',
  log_rotation_age: 0,
  log_rotation_size: 0,
  log_line_prefix: '%a|',
  log_statement: 'all',
};

/** A worker beside an attached table that nobody writes to. */
export async function runIdle({ ms }: IdleOptions, progress: (line: string) => void): Promise<IdleResult> {
  const fleet = await openFleet({ perSecond: 1, products: 1_000 }, LOGGED);
  try {
    const worker = await fleet.start('worker');
    await after(Math.min(ms, 10_000));
    const before = await sample(fleet, worker);
    await after(ms);
    let now = await sample(fleet, worker);
    // A sample's own: its `INFO`, its statement.
    let own = 1;
    const isSilent = () =>
      COUNTS.some((name) => now[name] - before[name] <= own) && now.atMs - before.atMs < SILENT_MS;
    for (; isSilent(); own++) {
      await after(BETWEEN_SAMPLES_MS);
      now = await sample(fleet, worker);
    }
    const { heap, rss } = now;
    const perSecond = (name: (typeof COUNTS)[number] | 'processorUs', ofSamples = 0) =>
      (now[name] - before[name] - ofSamples) / ((now.atMs - before.atMs) / 1_000);
    const result: IdleResult = {
      settings: { ...fleet.settings, ms },
      processorMs: perSecond('processorUs') / 1_000,
      cacheCommands: perSecond('cacheCommands', own),
      queueCommands: perSecond('queueCommands', own),
      statements: perSecond('statements', own),
      rss,
      heap,
    };
    progress(`idle worker: ${JSON.stringify(result)}`);
    return result;
  } finally {
    await fleet.close();
  }
}

async function sample({ knex, queue, redis }: Fleet, worker: Member) {
  const { heap, processorUs, rss } = await worker.usage();
  return {
    atMs: performance.now(),
    processorUs,
    cacheCommands: await infoOf(redis, 'total_commands_processed'),
    queueCommands: await infoOf(queue, 'total_commands_processed'),
    statements: await statementsOf(knex),
    heap,
    rss,
  };
}

/** What the database has logged: `statement:` of simple queries, `execute …:` of prepared ones. */
async function statementsOf(knex: Knex): Promise<number> {
  const { rows } = await knex.raw<{ rows: { count: string }[] }>(
    String.raw`SELECT count(*) AS count FROM regexp_matches(
      pg_read_file('log/statements.log'), '\|LOG:  (statement|execute [^:]*):', 'g')`,
  );
  return Number(rows[0]?.count);
}
