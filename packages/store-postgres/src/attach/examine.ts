import type { StoreFinding } from '@lockstep/core';
import type { Knex } from 'knex';
import { examinePooler, type PoolerNeeds } from './pooler.js';

/** The oldest server that is tested. */
const OLDEST = 130_000;
const PROBES = 10;
/** From here on a round trip is worth a word: a write takes two. */
const SLOW_MS = 5;

const SERVER = `SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS number,
pg_catalog.pg_is_in_recovery() AS standby, current_setting('transaction_read_only') AS read_only, current_setting('max_connections')::int AS connections, current_user::text AS role`;

/**
 * Looks at the server, the pool and the way to it: by statements of the pool's own, since those of the store are refused by a
 * server that takes no writes.
 */
export async function examineServer(knex: Knex, needs: PoolerNeeds): Promise<readonly StoreFinding[]> {
  const { rows } = await knex.raw<{ readonly rows: readonly Readonly<Record<string, unknown>>[] }>(SERVER);
  const [server] = rows;
  const isStandby = server?.['standby'] === true;
  const isReadOnly = !isStandby && server?.['read_only'] === 'on';
  const isOld = Number(server?.['number']) < OLDEST;
  const problems = [
    isStandby && 'a standby takes no writes: connect to the primary',
    isReadOnly &&
      'takes no writes: default_transaction_read_only is on, for the server, the database or the role',
    isOld && 'needs 13 or later',
  ].filter((problem) => problem !== false);
  const version = `Postgres ${String(server?.['version'])}, role ${String(server?.['role'])}`;
  return [
    {
      what: 'server',
      isWell: problems.length === 0,
      says: [version, ...problems].join(': '),
    },
    connections(knex, Number(server?.['connections'])),
    await examinePooler(knex, needs),
    await network(knex),
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

async function network(knex: Knex): Promise<StoreFinding> {
  const times: number[] = [];
  for (let i = 0; i < PROBES; i += 1) {
    const started = performance.now();
    await knex.raw('SELECT 1');
    times.push(performance.now() - started);
  }
  const median = times.sort((a, b) => a - b)[PROBES / 2] ?? 0;
  return {
    what: 'network',
    isWell: median < SLOW_MS,
    says: `a statement takes ${median.toFixed(2)} ms (median of ${PROBES})${median < SLOW_MS ? '' : ': run it nearer to the database'}`,
  };
}
