import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPostgres, startRedis } from '@lockstep/dev-services';
import { postgresStore } from '@lockstep/store-postgres';
import { Redis } from 'ioredis';
import knexPackage from 'knex';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Ran, runCli } from './run.js';

const PASSWORD = 'correct-horse';

let folder: string;
let services: readonly [Awaited<ReturnType<typeof startPostgres>>, Awaited<ReturnType<typeof startRedis>>];
/** Accepts connections, and says nothing. */
let silent: Server;
/** Ends each connection, and says why, as a Redis does that takes none from other hosts. */
let denying: Server;
let well: Record<string, string>;
let ends: Record<string, Record<string, string>>;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'lockstep-ends-'));
  writeFileSync(join(folder, 'broken.ts'), 'export default { lockstep: ( }');
  writeFileSync(join(folder, 'other.mjs'), 'export default { lockstep: () => ({}) }');
  services = await Promise.all([startPostgres(), startRedis({ owned: true })]);
  const [postgres, redis] = services;
  silent = createServer((socket) => void socket.on('error', () => undefined).resume());
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const { port } = silent.address() as AddressInfo;
  denying = createServer((socket) => {
    socket.on('error', () => undefined).end('-DENIED Redis is running in protected mode. In this mode …\r\n');
  });
  await new Promise<void>((resolve) => denying.listen(0, '127.0.0.1', resolve));
  const denied = `redis://127.0.0.1:${(denying.address() as AddressInfo).port}`;
  const knex = knexPackage({ client: 'pg', connection: postgres.url, pool: { min: 0, max: 2 } });
  await knex.raw('CREATE TABLE products (id int PRIMARY KEY, name text NOT NULL)');
  await knex.raw(`CREATE ROLE reader LOGIN PASSWORD '${PASSWORD}'`);
  await knex.raw('ALTER ROLE reader SET default_transaction_read_only = on');
  const store = postgresStore({ knex });
  await store.attach(store.table('products', { key: 'id' }), { grantTo: ['reader'] });
  await knex.raw('GRANT ALL ON products TO reader');
  await knex.destroy();
  const client = new Redis(redis.url);
  await client.config('SET', 'requirepass', PASSWORD);
  client.disconnect();
  const withPassword = (url: string, password: string, user?: string): string => {
    const changed = new URL(url);
    changed.password = password;
    if (user !== undefined) changed.username = user;
    return changed.href;
  };
  const redisUrl = withPassword(redis.url, PASSWORD);
  well = {
    LOCKSTEP_POSTGRES_URL: postgres.url,
    LOCKSTEP_REDIS_URL: redisUrl,
    LOCKSTEP_COLLECTIONS: 'products=products:id',
    LOCKSTEP_PREFIX: 'ends',
  };
  ends = {
    well: {},
    'a cache that hangs': { LOCKSTEP_REDIS_URL: `redis://127.0.0.1:${port}` },
    'all hang': {
      LOCKSTEP_POSTGRES_URL: `postgres://u:p@127.0.0.1:${port}/hanging`,
      LOCKSTEP_REDIS_URL: `redis://127.0.0.1:${port}`,
      LOCKSTEP_QUEUE_REDIS_URL: `redis://127.0.0.1:${port}`,
    },
    'a Redis in protected mode': { LOCKSTEP_REDIS_URL: denied, LOCKSTEP_QUEUE_REDIS_URL: denied },
    'a database that hangs': { LOCKSTEP_POSTGRES_URL: `postgres://u:p@127.0.0.1:${port}/hanging` },
    'a cache that hangs, and something that waits for ever': {
      LOCKSTEP_REDIS_URL: `redis://127.0.0.1:${port}`,
      NODE_OPTIONS: '--import=data:text/javascript,setInterval(()=>{},1000)',
    },
    'a wrong password of the cache': { LOCKSTEP_REDIS_URL: withPassword(redis.url, 'wrong') },
    'a role that is not there': {
      LOCKSTEP_POSTGRES_URL: withPassword(postgres.url, 'wrong', 'no_such_role'),
    },
    'a database that only reads': {
      LOCKSTEP_POSTGRES_URL: withPassword(postgres.url, PASSWORD, 'reader'),
    },
    'a table that is missing': { LOCKSTEP_COLLECTIONS: 'products=nothing:id' },
    'a key that is no column': { LOCKSTEP_COLLECTIONS: 'products=products:sku' },
    'a misspelt variable': { LOCKSTEP_REDIS_ULR: 'redis://127.0.0.1' },
  };
});

afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  silent?.close();
  denying?.close();
  await Promise.all(services?.map((service) => service.stop()) ?? []);
});

/** With what hangs: nothing takes longer than it has to, together. */
const SOON = '--timeout 1000';

/** With `code`, and these words in what it says. What waits comes first. */
const TABLE: readonly (readonly [end: string, command: string, code: number, says: RegExp])[] = [
  // Everything is asked at once: nothing is left to be told after the time of all. (Redis has limits of its own.)
  [
    'all hang',
    `${SOON} status`,
    1,
    /collection products: no answer within 1000 .*cache redis: .*queue bullmq:lockstep: .*feed postgres:hanging: no answer within 1000 /s,
  ],
  [
    'all hang',
    `${SOON} doctor`,
    1,
    /collection products".*no answer within 1000 .*"postgres:hanging".*no answer within 1000 .*"cache".*"queue"/s,
  ],
  [
    'all hang',
    `${SOON} inspect products 1`,
    2,
    /products, postgres:.*: no answer within 1000 ms; .*[Rr]edis/,
  ],
  ['a database that hangs', `${SOON} repair --yes`, 2, /products, postgres:.*: no answer within 1000/],
  ['a database that hangs', `${SOON} invalidate products 1`, 2, /products, postgres:/],
  ['a database that hangs', `${SOON} attach`, 2, /no answer within 1000/],
  ['a database that hangs', `${SOON} off`, 2, /no answer within 1000/],
  ['a cache that hangs, and something that waits for ever', `${SOON} status`, 1, /cache redis: /],
  ['a cache that hangs', `${SOON} verify`, 2, /[Rr]edis/],
  ['a cache that hangs', `${SOON} warm products ids`, 2, /[Rr]edis/],
  ['a cache that hangs', 'invalidate products --all --yes', 2, /Redis/],
  ['well', '--config broken.ts status', 2, /broken\.ts:1:\d+: ParseError/],
  ['well', '--config other.mjs status', 2, /must be a Lockstep/],
  ['well', '--config . status', 2, /there is no file/],
  ['well', '--timeout never status', 2, /--timeout/],
  ['well', 'status --no-such-flag', 2, /unknown option '--no-such-flag'/],
  ['well', 'inspect nothing 1', 2, /there is no \\"nothing\\"/],
  ['well', 'warm products no-such-file', 2, /no-such-file/],
  ['well', '--config none.ts status', 2, /none\.ts/],
  ['well', 'repair', 2, /--yes/],
  [
    'a Redis in protected mode',
    'status',
    1,
    /cache redis: .*protected mode.*requirepass.*queue bullmq.*protected mode/s,
  ],
  ['a wrong password of the cache', 'status', 1, /WRONGPASS/],
  ['a wrong password of the cache', 'verify', 2, /WRONGPASS/],
  ['a role that is not there', 'inspect products 1', 2, /no_such_role/],
  ['a database that only reads', 'purge products 1 --yes', 2, /read-only/],
  ['a database that only reads', 'detach products --yes', 2, /read-only|permission|owner/],
  ['a database that only reads', 'doctor', 1, /takes no writes: default_transaction_read_only/],
  ['a table that is missing', 'status', 1, /nothing/],
  ['a table that is missing', 'attach', 2, /nothing/],
  ['a key that is no column', 'verify', 2, /sku/],
  ['a key that is no column', 'migrate print', 2, /sku/],
  ['a misspelt variable', 'status', 2, /LOCKSTEP_REDIS_ULR/],
];

test('every command ends, with the right code, JSON, and no stack, whatever is wrong', async () => {
  const left = [...TABLE];
  const run = async (): Promise<void> => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      const [end, command, code, says] = next;
      const ran: Ran = await runCli(['--json', ...command.split(' ')], {
        cwd: folder,
        env: { ...well, ...ends[end] },
      });
      const at = `${end}: ${command}`;
      expect({ at, ...ran }).toMatchObject({ at, code });
      expect(ran.out, at).toMatch(says);
      expect(ran.out + ran.err, at).not.toMatch(/\n\s+at /);
      expect(ran.err.split('\n').length, at).toBeLessThanOrEqual(3);
      expect(() => JSON.parse(ran.out), at).not.toThrow();
    }
  };
  await Promise.all(Array.from({ length: 4 }, run));
});
