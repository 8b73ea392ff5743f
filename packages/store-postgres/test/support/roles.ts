import { randomBytes } from 'node:crypto';
import type { Knex } from 'knex';
import type { PostgresStore } from '../../src/index.js';
import type { TestServer } from './database.js';

export interface Scene {
  readonly url: string;
  readonly knex: Knex;
  readonly pg: PostgresStore;
  /** A role that may log in, and nothing else. */
  readonly low: string;
  /** A connection as that role. */
  asLow(): Knex;
}

/** A database of its own, and a role of the least rights. */
export async function sceneOn(server: TestServer): Promise<Scene> {
  if (server.service === undefined) throw new Error('no server');
  const { url } = await server.service.database();
  const { pg, knex } = server.store({ knex: server.knex(url) });
  const low = `low_${randomBytes(6).toString('hex')}`;
  await knex.raw(`CREATE ROLE ${low} LOGIN`);
  const asLow = (): Knex => {
    const as = new URL(url);
    as.username = low;
    return server.knex(as.href, 1);
  };
  return { url, knex, pg, low, asLow };
}
