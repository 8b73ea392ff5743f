import { Worker } from 'node:worker_threads';
import { startPostgres, startRedis } from '@lockstep/dev-services';
import { postgresStore } from '@lockstep/store-postgres';
import knexPackage, { type Knex } from 'knex';
import { changeOf } from './changes.js';
import type { ApplicationSettings, RolloutResult, RolloutSettings } from './settings.js';
import { ROWS, Shared } from './shared.js';

const ENTRY = new URL('./application.js', import.meta.url);

/** A running application of the run. */
class Application {
  readonly problems: string[] = [];
  calls = 0;
  readonly #worker: Worker;
  readonly #ended: Promise<void>;
  #heard: () => void = () => undefined;

  constructor(settings: ApplicationSettings) {
    this.#worker = new Worker(ENTRY, { workerData: settings });
    this.#worker.on('message', (message: 'called' | { readonly problems: readonly string[] }) => {
      if (message === 'called') this.calls += 1;
      else this.problems.push(...message.problems);
      this.#heard();
    });
    this.#ended = new Promise((resolve) => {
      this.#worker.on('error', (error) => this.problems.push(`the application ended: ${String(error)}`));
      this.#worker.on('exit', () => {
        this.#heard();
        this.#heard = () => undefined;
        resolve();
      });
    });
  }

  /** Resolves once it has made so many calls more, or is gone. */
  async makes(calls: number): Promise<void> {
    const until = this.calls + calls;
    const reached = new Promise<void>((resolve) => {
      this.#heard = () => {
        if (this.calls >= until) resolve();
      };
    });
    await Promise.race([reached, this.#ended]);
  }

  async stop(): Promise<void> {
    this.#worker.postMessage('stop');
    await this.#ended;
  }
}

/**
 * Rolls a release out while the one before it runs, changes the table under both, rolls back, and out again, with
 * readers and writers in each process and a foreign writer beside them. Nothing that was acknowledged may be lost, no
 * read may be older than what was acknowledged before it, and no release may see a row that is not as it knows them.
 */
export async function runRollout(settings: RolloutSettings): Promise<RolloutResult> {
  await using postgres = await startPostgres();
  await using redis = await startRedis();
  const knex = knexPackage({ client: 'pg', connection: postgres.url, pool: { min: 0, max: 2 } });
  try {
    return await rolledOut(settings, knex, { postgresUrl: postgres.url, redisUrl: redis.url });
  } finally {
    await knex.destroy();
  }
}

async function rolledOut(
  { calls, ...settings }: RolloutSettings,
  knex: Knex,
  urls: { readonly postgresUrl: string; readonly redisUrl: string },
): Promise<RolloutResult> {
  const table = `rollout_${settings.change.replaceAll('-', '_')}`;
  const change = changeOf(settings.change);
  const sql = (text: string): Knex.Raw => knex.raw(text.replaceAll('$t', table));
  const shared = new Shared();
  const all: Application[] = [];

  if (change.before !== undefined) await sql(change.before);
  const columns = ['id int PRIMARY KEY', 'name text NOT NULL', 'count int NOT NULL', change.column];
  await sql(`CREATE TABLE $t (${columns.filter((column) => column !== '').join(', ')})`);
  await sql(`INSERT INTO $t (id, name, count) SELECT i, 'nobody', 0 FROM generate_series(1, ${ROWS}) i`);
  const store = postgresStore({ knex });
  await store.attach(store.table(table, { key: 'id' }));
  await store.close();

  const start = (release: 'old' | 'fresh'): Application => {
    const own = { index: all.length, release, table, shared: shared.buffer };
    const application = new Application({ ...settings, ...urls, ...own });
    all.push(application);
    return application;
  };
  const together = async (...running: readonly Application[]): Promise<void> => {
    const foreign = sql(`UPDATE $t SET count = count + 1 WHERE id = ${1 + (all.length % ROWS)}`);
    await Promise.all([...running.map((each) => each.makes(calls)), foreign]);
    shared.acknowledge(1 + (all.length % ROWS), 0, 1);
  };

  const first = start('old');
  const second = start('old');
  await together(first, second);
  await Promise.all([together(first, second), sql(change.migration)]);
  const third = start('fresh');
  await together(first, second, third);
  await second.stop();
  await together(first, third);
  await third.stop();
  const fourth = start('old');
  await together(first, fourth);
  const fifth = start('fresh');
  await together(first, fourth, fifth);
  await Promise.all([first.stop(), fourth.stop()]);
  await together(fifth);
  await fifth.stop();

  const problems = all.flatMap((application) => application.problems);
  const marked = change.marked ?? 'NULL';
  const { rows } = await sql(`SELECT id, count, ${marked} AS token FROM $t ORDER BY id`);
  for (const { count, id, token } of rows as { id: number; count: number; token: number | null }[]) {
    const expected = shared.count(id);
    if (count !== expected) problems.push(`row ${id} counts ${count}, acknowledged were ${expected}`);
    const mark = shared.token(id);
    if (token !== null && token !== mark)
      problems.push(`row ${id} is marked ${token}, acknowledged was ${mark}`);
  }
  return {
    change: settings.change,
    ...(settings.control !== undefined && { control: settings.control }),
    calls: all.reduce((sum, application) => sum + application.calls, 0),
    problems,
  };
}
