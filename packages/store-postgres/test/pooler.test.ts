import type { Knex } from 'knex';
import { describe, expect, test } from 'vitest';
import { examineServer } from '../src/attach/examine.js';
import { type Backend, examinePooler } from '../src/attach/pooler.js';

/** What PgBouncer's processes look like to a client, by what it pools. */
class Pooler {
  readonly #mode: 'session' | 'transaction' | 'statement' | 'none';
  readonly #tracks: boolean;
  /** Statements that each server process knows by their names. */
  readonly #names = new Map<number, Set<string>>();
  connections = 0;

  constructor(mode: 'session' | 'transaction' | 'statement' | 'none', tracks = false) {
    this.#mode = mode;
    this.#tracks = tracks;
  }

  knex(max = 10): Knex {
    return {
      client: {
        config: { pool: { max } },
        acquireConnection: async () => this.#connection(),
        releaseConnection: async () => {
          this.connections -= 1;
        },
      },
    } as unknown as Knex;
  }

  #connection(): Backend {
    this.connections += 1;
    const own = this.connections;
    const pid = this.#mode === 'session' || this.#mode === 'none' ? own : 1;
    return {
      processID: this.#mode === 'none' ? own : 4_711 + own,
      query: async (statement) => {
        if (statement === 'BEGIN' && this.#mode === 'statement') {
          throw new Error('transaction blocks not allowed in statement pooling mode');
        }
        if (typeof statement !== 'string' && !this.#tracks) {
          const names = this.#names.get(pid) ?? new Set();
          if (names.has(statement.name)) throw new Error(`"${statement.name}" already exists`);
          this.#names.set(pid, names.add(statement.name));
        }
        return { rows: [{ pid }] };
      },
    };
  }
}

describe('the doctor tells what is between this and the server', () => {
  const all = { prepared: true, listens: true };
  const none = { prepared: false, listens: false };
  test.each([
    ['nothing', new Pooler('none'), all, true, 'none'],
    ['sessions', new Pooler('session'), all, true, 'pools by session'],
    ['transactions, with all', new Pooler('transaction'), all, false, 'feed.listen: false'],
    [
      'transactions, with names',
      new Pooler('transaction'),
      { ...none, prepared: true },
      false,
      'prepared: false',
    ],
    [
      'transactions, with names that it tracks',
      new Pooler('transaction', true),
      { ...none, prepared: true },
      true,
      'the relay polls',
    ],
    ['transactions, with neither', new Pooler('transaction'), none, true, 'the relay polls'],
    ['statements', new Pooler('statement'), none, false, 'refuses transactions'],
  ] as const)('%s', async (_, pooler, needs, isWell, says) => {
    expect(await examinePooler(pooler.knex(), needs)).toEqual({
      what: 'pooler',
      isWell,
      says: expect.stringContaining(says),
    });
    expect(pooler.connections).toBe(0);
  });

  test('a pool of one connection: what can not be looked at is taken for the worst', async () => {
    expect(await examinePooler(new Pooler('transaction').knex(1), all)).toMatchObject({ isWell: false });
  });

  test('a second connection that comes too late goes back', async () => {
    const released: string[] = [];
    const late = Promise.withResolvers<Backend>();
    const first: Backend = { processID: 1, query: async () => ({ rows: [{ pid: 2 }] }) };
    let asked = 0;
    const client = {
      config: { pool: { max: 2 } },
      acquireConnection: async () => (asked++ === 0 ? first : await late.promise),
      releaseConnection: async (connection: Backend) => {
        released.push(connection === first ? 'first' : 'second');
      },
    };
    const found = await examinePooler({ client } as unknown as Knex, all);
    expect(found).toMatchObject({ says: expect.stringContaining('no second connection') });
    late.resolve({ ...first });
    await expect.poll(() => released).toEqual(['first', 'second']);
  });

  test('a second connection that may have begun a transaction does not go back inside it', async () => {
    const sent: unknown[] = [];
    const query = async (statement: unknown): ReturnType<Backend['query']> => {
      sent.push(statement);
      if (statement === 'BEGIN') throw new Error('the answer was lost');
      return { rows: [{ pid: 2 }] };
    };
    const client = {
      config: { pool: { max: 2 } },
      acquireConnection: async () => ({ processID: 1, query }),
      releaseConnection: async () => {},
    };
    await examinePooler({ client } as unknown as Knex, all);
    expect(sent.slice(-2)).toEqual(['BEGIN', 'ROLLBACK']);
  });
});

test.each([
  [{}, true, 'Postgres 16.4, role app'],
  [{ version: '12.22', number: 120_022 }, false, 'Postgres 12.22, role app: needs 13 or later'],
  [{ standby: true, read_only: 'on' }, false, 'a standby takes no writes: connect to the primary'],
  [{ read_only: 'on' }, false, 'takes no writes: default_transaction_read_only is on'],
])('the doctor on the server: %j', async (told, isWell, says) => {
  const server = {
    version: '16.4',
    number: 160_004,
    standby: false,
    read_only: 'off',
    connections: 100,
    role: 'app',
  };
  const raw = async (sql: string) => ({
    rows: sql.includes('server_version') ? [{ ...server, ...told }] : [],
  });
  const knex = { ...new Pooler('none').knex(), raw } as unknown as Knex;
  const [found] = await examineServer(knex, { prepared: false, listens: false });
  expect(found).toEqual({ what: 'server', isWell, says: expect.stringContaining(says) });
});
