import { randomUUID } from 'node:crypto';
import type { StoreFinding } from '@lockstep/core';
import { Deadline } from '@lockstep/core/kit';
import type { Knex } from 'knex';

/** What the store asks of its connections. */
export interface PoolerNeeds {
  /** Named prepared statements. */
  readonly prepared: boolean;
  /** Notifications. */
  readonly listens: boolean;
}

/** A driver's connection, as far as it is asked here. */
export interface Backend {
  readonly processID?: number;
  query(
    statement: string | { readonly name: string; readonly text: string },
  ): Promise<{ readonly rows: readonly { readonly pid: number }[] }>;
}

interface Client {
  readonly config: { readonly pool?: { readonly max?: number } };
  acquireConnection(): Promise<Backend>;
  releaseConnection(connection: Backend): Promise<void>;
}

type Mode = 'session' | 'transaction' | 'statement' | 'unknown';

const PID = 'SELECT pg_catalog.pg_backend_pid() AS pid';
const THERE_IS = 'there is one (PgBouncer or the like) between this and the server';
/** Poolers hand out the connection that was used last; one look may meet another that has just come free. */
const TRIES = 3;
/** A pooler without a connection to spare lets its clients wait. */
const SECOND_MS = 2_000;

const ignore = (): void => undefined;

/** The process that a connection was told of at its start is the server's own, unless somebody stands between. */
export async function examinePooler(knex: Knex, needs: PoolerNeeds): Promise<StoreFinding> {
  const client = knex.client as Client;
  const connection = await client.acquireConnection();
  try {
    const pid = await pidOf(connection);
    if (connection.processID === undefined || pid === connection.processID) {
      return { what: 'pooler', isWell: true, says: 'none between this and the server' };
    }
    const { carries, mode } = await looked(client, connection, needs);
    return { what: 'pooler', ...findings(mode, carries, needs) };
  } finally {
    await client.releaseConnection(connection);
  }
}

function findings(mode: Mode, carries: boolean, needs: PoolerNeeds): Omit<StoreFinding, 'what'> {
  if (mode === 'session') return { isWell: true, says: `${THERE_IS}, which pools by session` };
  if (mode === 'statement') {
    const says = `${THERE_IS}, which pools by statement and refuses transactions: pool by transaction or session`;
    return { isWell: false, says };
  }
  const problems = [
    ...(needs.listens ? ['feed.listen: false, since notifications need a connection of their own'] : []),
    ...(needs.prepared && !carries ? ['prepared: false, since it does not carry prepared statements'] : []),
  ];
  const by = mode === 'transaction' ? 'pools by transaction' : 'had no second connection to look at';
  const says = [`${THERE_IS}, which ${by}`, ...(problems.length === 0 ? ['the relay polls'] : problems)];
  return { isWell: problems.length === 0, says: says.join('; ') };
}

/** One server process that serves two open connections shows that they are pooled by transaction, or by statement. */
async function looked(
  client: Client,
  first: Backend,
  { prepared }: PoolerNeeds,
): Promise<{ readonly mode: Mode; readonly carries: boolean }> {
  const unknown = { mode: 'unknown', carries: true } as const;
  if ((client.config.pool?.max ?? 10) < 2) return unknown;
  const late = (): Error => new Error(`no second connection within ${SECOND_MS} ms`);
  const bounded = <T>(promise: Promise<T>): Promise<T> =>
    new Deadline({ timeoutMs: SECOND_MS, late, keepsAlive: true }).bound(promise);
  const acquiring = client.acquireConnection();
  const second = await bounded(acquiring).catch(() => undefined);
  if (second === undefined) {
    acquiring.then((late) => client.releaseConnection(late)).catch(ignore);
    return unknown;
  }
  try {
    for (let i = 0; i < TRIES; i += 1) {
      const name = `lockstep_${randomUUID()}`;
      if (prepared) await first.query({ name, text: PID });
      const pid = await pidOf(first);
      const began = await bounded(second.query('BEGIN')).then(
        () => true,
        (error: Error) => !/transaction block/.test(error.message) && error,
      );
      if (began === false) return { mode: 'statement', carries: false };
      if (began instanceof Error) {
        // It may still begin: whoever has the connection next is served behind this.
        second.query('ROLLBACK').catch(ignore);
        return unknown;
      }
      try {
        if ((await pidOf(second)) !== pid) continue;
        // Its server has the name already: only a pooler that keeps account of names lets both have it.
        const carries = !prepared || (await carriesName(second, name));
        return { mode: 'transaction', carries };
      } finally {
        await second.query('ROLLBACK');
      }
    }
    return { mode: 'session', carries: true };
  } finally {
    await client.releaseConnection(second);
  }
}

async function pidOf(connection: Backend): Promise<number | undefined> {
  const { rows } = await connection.query(PID);
  return rows[0]?.pid;
}

function carriesName(connection: Backend, name: string): Promise<boolean> {
  return connection.query({ name, text: PID }).then(
    () => true,
    () => false,
  );
}
