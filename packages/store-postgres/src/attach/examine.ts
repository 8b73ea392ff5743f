import type { StoreFinding } from '@lockstep/core';
import type { Knex } from 'knex';
import type { Run } from '../sql/catalog.js';

/** The oldest server that is tested. */
const OLDEST = 130_000;
const PROBES = 10;
/** From here on a round trip is worth a word: a write takes two. */
const SLOW_MS = 5;

const SERVER = `SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS number,
pg_catalog.pg_is_in_recovery() AS standby, current_setting('max_connections')::int AS connections, current_user::text AS role`;

/** Looks at the server, the pool and the way to it. */
export async function examineServer(
  run: Run,
  knex: Knex,
  listens: boolean,
): Promise<readonly StoreFinding[]> {
  const [server] = await run(SERVER);
  const isStandby = server?.['standby'] === true;
  const isOld = Number(server?.['number']) < OLDEST;
  const version = `Postgres ${String(server?.['version'])}, role ${String(server?.['role'])}`;
  return [
    {
      what: 'server',
      isWell: !isStandby && !isOld,
      says: `${version}${isStandby ? ': a standby takes no writes: connect to the primary' : ''}${isOld ? ': needs 13 or later' : ''}`,
    },
    connections(knex, Number(server?.['connections'])),
    await pooler(knex, listens),
    await network(run),
  ];
}

function connections(knex: Knex, limit: number): StoreFinding {
  const { max } = (knex.client as { config: { pool?: { max?: number } } }).config.pool ?? {};
  const pool = max ?? 10;
  return {
    what: 'connections',
    isWell: pool < limit,
    says: `a pool of up to ${pool} for each process, of the server's ${limit} for all${pool < limit ? '' : ': pool.max is too large'}`,
  };
}

/** A driver's connection, as far as it is asked here. */
interface Backend {
  readonly processID?: number;
  query(sql: string): Promise<{ readonly rows: readonly { readonly pid: number }[] }>;
}

/** The process that the connection was told of at its start is the server's own, unless somebody stands between. */
async function pooler(knex: Knex, listens: boolean): Promise<StoreFinding> {
  const client = knex.client as {
    acquireConnection(): Promise<Backend>;
    releaseConnection(connection: Backend): Promise<void>;
  };
  const connection = await client.acquireConnection();
  try {
    const { rows } = await connection.query('SELECT pg_catalog.pg_backend_pid() AS pid');
    if (connection.processID === undefined || rows[0]?.pid === connection.processID) {
      return { what: 'pooler', isWell: true, says: 'none between this and the server' };
    }
    const says = 'there is one (PgBouncer or the like) between this and the server';
    return {
      what: 'pooler',
      isWell: !listens,
      says: listens
        ? `${says}: prepared: false, where it pools by transaction: prepared statements and notifications need connections of their own`
        : `${says}; the relay polls`,
    };
  } finally {
    await client.releaseConnection(connection);
  }
}

async function network(run: Run): Promise<StoreFinding> {
  const times: number[] = [];
  for (let i = 0; i < PROBES; i += 1) {
    const started = performance.now();
    await run('SELECT 1');
    times.push(performance.now() - started);
  }
  const median = times.sort((a, b) => a - b)[PROBES / 2] ?? 0;
  return {
    what: 'network',
    isWell: median < SLOW_MS,
    says: `a statement takes ${median.toFixed(2)} ms (median of ${PROBES})${median < SLOW_MS ? '' : ': run it nearer to the database'}`,
  };
}
