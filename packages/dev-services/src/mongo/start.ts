import { randomBytes } from 'node:crypto';
import type { Binary } from '../binaries/find.js';
import { DevServicesError, messageOf } from '../errors.js';
import { firstOrigin } from '../origins.js';
import { supervisor } from '../supervisor/client.js';
import type { OwnedProcess, Service, ServiceOrigin, StartOptions } from '../types.js';
import { mongoContainer } from './container.js';
import { MONGO_ADVICE, mongoBinaries } from './locate.js';
import { type ReplicaSetOptions, startReplicaSet } from './replica-set.js';
import { type MongoServer, withMongo } from './server.js';

/** Any option about the set needs servers of one's own: `MONGO_URL` is passed over then. */
export interface MongoOptions extends StartOptions, ReplicaSetOptions {
  /**
   * `true` passes `MONGO_URL` over, so that `members` is not empty.
   *
   * @defaultValue false
   */
  readonly owned?: boolean | undefined;
}

export interface MongoDatabase extends AsyncDisposable {
  readonly name: string;
  readonly url: string;
  drop(): Promise<void>;
}

export interface MongoService extends Service {
  readonly kind: 'mongo';
  /** The database that `url` names: empty, and this service's own. */
  readonly databaseName: string;
  /** Undefined for a standalone server. */
  readonly replicaSet?: string | undefined;
  /** The servers of the set; empty when they are not this process's own. */
  readonly members: readonly OwnedProcess[];
  /** A further empty database; it goes with the service at the latest. */
  database(): Promise<MongoDatabase>;
  /** The member that takes writes now. Rejects when the servers are not this process's own. */
  primary(): Promise<OwnedProcess>;
  /** Makes the primary step down; resolves when there is a primary again (another one in a set of three). */
  stepDown(): Promise<void>;
}

/**
 * Starts MongoDB as a replica set (of one member unless told otherwise), or takes the one in `MONGO_URL`;
 * `url` names a new empty database. Rejects with a `DevServicesError`.
 */
export async function startMongo(options: MongoOptions = {}): Promise<MongoService> {
  const began = performance.now();
  const server = await firstOrigin<MongoServer>(
    options,
    {
      env: async () => {
        const url = process.env['MONGO_URL'];
        if (url === undefined || url === '' || needsOwn(options)) return undefined;
        return sharedServer(url);
      },
      binary: async () => launch(await mongoBinaries.binary(), options),
      package: async () => launch(await mongoBinaries.package(), options),
      docker: async () => (needsOwn(options) ? undefined : mongoContainer(options.startTimeoutMs ?? 60_000)),
    },
    MONGO_ADVICE,
  );
  return serve(server, began);
}

function needsOwn({ auth, members, electionTimeoutMillis, standalone, owned }: MongoOptions): boolean {
  return (
    auth === true || owned === true || standalone === true || (members ?? electionTimeoutMillis) !== undefined
  );
}

async function launch(binary: Binary | undefined, options: MongoOptions): Promise<MongoServer | undefined> {
  return binary === undefined
    ? undefined
    : startReplicaSet(binary, options, options.startTimeoutMs ?? 60_000);
}

async function serve(
  server: MongoServer & { readonly origin: ServiceOrigin },
  began: number,
): Promise<MongoService> {
  const databases = new Set<MongoDatabase>();
  const database = async (): Promise<MongoDatabase> => {
    const created = await namedDatabase(server, () => databases.delete(created));
    databases.add(created);
    return created;
  };
  let stopping: Promise<void> | undefined;
  const stop = (): Promise<void> => {
    stopping ??= (async () => {
      if (server.members.length === 0) await Promise.all([...databases].map((each) => each.drop()));
      await server.stop();
    })();
    return stopping;
  };
  try {
    const { url, name } = await database();
    return {
      kind: 'mongo',
      url,
      origin: server.origin,
      version: await versionOf(server.url),
      startMs: Math.round(performance.now() - began),
      databaseName: name,
      replicaSet: server.replicaSet,
      members: server.members,
      database,
      primary: () => server.primary(),
      stepDown: () => server.stepDown(),
      stop,
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function namedDatabase(server: MongoServer, onDrop: () => void): Promise<MongoDatabase> {
  const name = `lockstep_${randomBytes(8).toString('hex')}`;
  const cleanup = { kind: 'mongo-database', url: server.url, name } as const;
  // On servers of one's own the database goes with the data folders.
  if (server.members.length === 0) await supervisor().keep(cleanup);
  let dropping: Promise<void> | undefined;
  const drop = (): Promise<void> => {
    dropping ??= supervisor().clean(cleanup).then(onDrop);
    return dropping;
  };
  return { name, url: withDatabase(server.url, name), drop, [Symbol.asyncDispose]: drop };
}

/** The `URL` class does not take several hosts. */
function withDatabase(url: string, name: string): string {
  const [, address = url, query = ''] = /^([^?]*?\/\/[^/?]+)[^?]*(\?.*)?$/.exec(url) ?? [];
  return `${address}/${name}${query}`;
}

async function sharedServer(url: string): Promise<MongoServer> {
  const refuse = async (): Promise<never> => {
    throw new DevServicesError(
      'DEV_SERVICES_NOT_OWNED',
      'The MongoDB of MONGO_URL is not this process’s own: ask for one with { owned: true }',
    );
  };
  try {
    const hello = await withMongo(url, (client) => client.db('admin').command({ hello: 1 }));
    const setName: unknown = hello['setName'];
    return {
      url,
      replicaSet: typeof setName === 'string' ? setName : undefined,
      members: [],
      primary: refuse,
      stepDown: refuse,
      stop: async () => undefined,
    };
  } catch (error) {
    throw new DevServicesError('DEV_SERVICES_START_FAILED', `MONGO_URL: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

async function versionOf(url: string): Promise<string> {
  const info = await withMongo(url, (client) => client.db('admin').command({ buildInfo: 1 }));
  return String(info['version']);
}
