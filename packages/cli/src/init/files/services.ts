import { usesMongo, usesPostgres } from '../packages.js';
import { POSTGRES_URL } from './config.js';
import { type Layout, lines } from './layout.js';

const POSTGRES = `  postgres:
    image: postgres:17.11-alpine
    environment: { POSTGRES_USER: lockstep, POSTGRES_PASSWORD: lockstep, POSTGRES_DB: app }
    ports: ['127.0.0.1:5432:5432']
    volumes: ['postgres:/var/lib/postgresql/data']
    healthcheck:
      # By TCP: the server that sets up a new volume, and is stopped again, listens on its socket only.
      test: ['CMD', 'pg_isready', '--host=127.0.0.1', '--username=lockstep', '--dbname=app']
      interval: 2s
      timeout: 3s
      retries: 30`;

const MONGO = `  mongo:
    image: mongo:8.0.29
    command: ['mongod', '--replSet', 'rs0', '--bind_ip_all']
    ports: ['127.0.0.1:27017:27017']
    volumes: ['mongo:/data/db']
    healthcheck:
      # A change feed needs a replica set; one member is enough. The first look makes it one.
      test: >-
        mongosh --quiet --eval
        "try { rs.status() }
        catch { rs.initiate({ _id: 'rs0', members: [{ _id: 0, host: '127.0.0.1:27017' }] }) }
        quit(db.hello().isWritablePrimary ? 0 : 1)"
      interval: 2s
      timeout: 10s
      retries: 30`;

function redis(name: string, port: number, command: string, volume: boolean): string {
  return lines(
    `  ${name}:`,
    '    image: redis:8.2.9-alpine',
    `    command: [${command}]`,
    `    ports: ['127.0.0.1:${port}:6379']`,
    volume && `    volumes: ['${name}:/data']`,
    '    healthcheck:',
    '      # -e: while it still loads its file, an error is the answer.',
    "      test: ['CMD', 'redis-cli', '-e', 'ping']",
    '      interval: 2s',
    '      timeout: 3s',
    '      retries: 30',
  ).trimEnd();
}

/** Docker's servers for development, on loopback, each with a health check, so that `up --wait` waits for all. */
export function composeFile({ choices }: Layout): string {
  const volumes = [
    usesPostgres(choices) && 'postgres',
    usesMongo(choices) && 'mongo',
    choices.queue === 'bullmq' && 'queue',
  ].filter((name) => name !== false);
  return lines(
    '# Servers for development: docker compose -f compose.lockstep.yaml up -d --wait',
    'services:',
    usesPostgres(choices) && POSTGRES,
    usesMongo(choices) && MONGO,
    choices.cache === 'redis' && '  # May evict: a lost entry costs a miss.',
    choices.cache === 'redis' &&
      redis(
        'cache',
        6379,
        "'redis-server', '--save', '', '--maxmemory', '256mb', '--maxmemory-policy', 'allkeys-lfu'",
        false,
      ),
    choices.queue === 'bullmq' && '  # Must not evict, and keeps what it holds.',
    choices.queue === 'bullmq' &&
      redis('queue', 6380, "'redis-server', '--appendonly', 'yes', '--maxmemory-policy', 'noeviction'", true),
    volumes.length > 0 && 'volumes:',
    ...volumes.map((name) => `  ${name}:`),
  );
}

/** For `knex migrate:latest`. */
export function knexFile(): string {
  return lines(
    'export default {',
    "  client: 'pg',",
    `  connection: process.env['DATABASE_URL'] ?? '${POSTGRES_URL}',`,
    "  migrations: { directory: './migrations' },",
    '};',
  );
}

/** Makes the table of the example and attaches it, in one transaction. */
export function migrationFile({ project }: Layout): string {
  const { isModule } = project;
  const declare = (name: string): string =>
    isModule ? `export async function ${name}(knex)` : `exports.${name} = async function ${name}(knex)`;
  const end = isModule ? '}' : '};';
  return lines(
    isModule && "import { postgresStore } from '@lockstep/store-postgres';",
    isModule && '',
    '// The version column, the triggers and the change feed of the table.',
    isModule ? 'function attached(knex) {' : 'async function attached(knex) {',
    !isModule && "  const { postgresStore } = await import('@lockstep/store-postgres');",
    '  const postgres = postgresStore({ knex });',
    "  return postgres.migration(postgres.table('products', { key: 'id' }));",
    '}',
    '',
    `${declare('up')} {`,
    "  await knex.schema.createTable('products', (table) => {",
    "    table.integer('id').primary();",
    "    table.text('name').notNullable();",
    "    table.integer('stock').notNullable();",
    '  });',
    `  await ${isModule ? 'attached(knex)' : '(await attached(knex))'}.up(knex);`,
    end,
    '',
    `${declare('down')} {`,
    `  await ${isModule ? 'attached(knex)' : '(await attached(knex))'}.down(knex);`,
    "  await knex.schema.dropTable('products');",
    end,
  );
}

/** Of a new project: checks types, and runs files as they are. */
export function tsconfigFile(): string {
  const compilerOptions = {
    target: 'es2024',
    module: 'nodenext',
    strict: true,
    noEmit: true,
    allowImportingTsExtensions: true,
    erasableSyntaxOnly: true,
    verbatimModuleSyntax: true,
    skipLibCheck: true,
    types: ['node'],
  };
  return `${JSON.stringify({ compilerOptions }, null, 2)}\n`;
}
