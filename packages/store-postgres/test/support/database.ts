import { type PostgresOptions, type PostgresService, startPostgres } from '@lockstep/dev-services';
import knexPackage, { type Knex } from 'knex';
import { afterAll, beforeAll } from 'vitest';
import { type PostgresStore, type PostgresStoreOptions, postgresStore } from '../../src/index.js';

const { knex: createKnex } = knexPackage;

/** A real server for the tests of one file, and what was opened on it, ended afterwards. */
export class TestServer {
  service: PostgresService | undefined;
  readonly #opened: { end(): Promise<void> }[] = [];

  get url(): string {
    if (this.service === undefined) throw new Error('the server has not started');
    return this.service.url;
  }

  knex(url = this.url, max = 20): Knex {
    // The server's user has the name of Lockstep's schema, which would come first.
    const knex = createKnex({ client: 'pg', connection: url, pool: { min: 0, max }, searchPath: ['public'] });
    this.#opened.push({ end: () => knex.destroy() });
    return knex;
  }

  store(options: Partial<PostgresStoreOptions> = {}): { pg: PostgresStore; knex: Knex } {
    const knex = options.knex ?? this.knex();
    const pg = postgresStore({ ...options, knex });
    this.#opened.push({ end: () => pg.close() });
    return { pg, knex };
  }

  async end(): Promise<void> {
    for (const each of this.#opened.reverse()) await each.end();
    await this.service?.stop();
  }
}

/** Starts a server before the file's tests and stops it after them. */
export function testServer(
  settings?: PostgresOptions['settings'],
  origins?: PostgresOptions['origins'],
): TestServer {
  const server = new TestServer();
  beforeAll(async () => {
    server.service = await startPostgres({ settings, origins });
  }, 120_000);
  afterAll(() => server.end(), 60_000);
  return server;
}

/** The bound of calls in tests: generous, the machine may be busy. */
export const CALL = { timeoutMs: 15_000 } as const;
export const READ = { ...CALL, primary: true } as const;

/** What the outbox records, as a relation: one row for each change. */
export const CHANGES = `(SELECT o.id, o.source, o.op, o.changed_at, c.key, c.version FROM lockstep.outbox o,
  LATERAL unnest(coalesce(o.keys, ARRAY[o.key]), coalesce(o.versions, ARRAY[o.version])) AS c(key, version)) AS changes`;

/** Resolves when as many backends of the database as this wait for a lock. */
export async function waiting(knex: Knex, count: number): Promise<void> {
  for (;;) {
    const { rows } = await knex.raw<{ rows: { n: number }[] }>(
      `SELECT count(*)::int AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`,
    );
    if ((rows[0]?.n ?? 0) >= count) return;
  }
}

/** Where a consumer of its own is now, for a replay from here. */
export async function positionsOf(pg: PostgresStore, ...sources: string[]): Promise<Map<string, string[]>> {
  const { registry } = pg.feed;
  const shared = { holeTtlMs: 1_000, holeOnEmpty: false };
  const collections = sources.map((source) => ({
    ...shared,
    name: source,
    source,
    keyPrefix: `test:${source}:`,
  }));
  await registry.register('test', collections);
  const records = await registry.observe('test', sources, 'a cache');
  return new Map(records.map(({ position, source }) => [source, position === undefined ? [] : [position]]));
}
