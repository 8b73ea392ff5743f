import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MongoClient } from 'mongodb';
import type { Binary } from '../binaries/find.js';
import { DevServicesError } from '../errors.js';
import { temporaryFolder } from '../folders.js';
import { LOOPBACK } from '../ports.js';
import { ServerProcess } from '../server-process.js';
import type { OwnedProcess } from '../types.js';
import { waitFor } from '../wait.js';
import type { MongoServer } from './server.js';

export interface ReplicaSetOptions {
  /**
   * Members of the replica set.
   *
   * @defaultValue 1
   */
  readonly members?: 1 | 3 | undefined;
  /**
   * How long a primary may be silent before another is elected, in milliseconds.
   *
   * @defaultValue 1000
   */
  readonly electionTimeoutMillis?: number | undefined;
  /**
   * One server that is no replica set: no change streams, no transactions.
   *
   * @defaultValue false
   */
  readonly standalone?: boolean | undefined;
  /**
   * The servers check rights; `url` is a root user's. Without `stepDown`.
   *
   * @defaultValue false
   */
  readonly auth?: boolean | undefined;
}

/** Of servers that check rights, which nobody but this machine reaches. */
const ROOT = { user: 'root', password: 'root' } as const;

const SET = 'lockstep';
const SETTLE_MS = 60_000;

/** Starts the servers and makes them a set with a primary. Nothing is left behind when it rejects. */
export async function startReplicaSet(
  binary: Binary,
  options: ReplicaSetOptions,
  startTimeoutMs: number,
): Promise<MongoServer> {
  const count = options.members ?? 1;
  const standalone = options.standalone === true;
  if (standalone && count !== 1) {
    throw new DevServicesError(
      'DEV_SERVICES_INVALID_OPTION',
      'members: a standalone server has none beside itself',
    );
  }
  const keys = options.auth === true ? await temporaryFolder('mongo-key') : undefined;
  const keyFile = keys && join(keys.path, 'key');
  if (keyFile !== undefined) await writeFile(keyFile, randomBytes(96).toString('base64'), { mode: 0o400 });
  const servers: ServerProcess[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(servers.map((server) => server.stop()));
    await keys?.remove();
  };
  try {
    const results = await Promise.allSettled(
      Array.from({ length: count }, async () => {
        servers.push(await startMember(binary, { standalone, keyFile }, startTimeoutMs));
      }),
    );
    for (const result of results) if (result.status === 'rejected') throw result.reason;
    if (!standalone) await initiate(servers, options.electionTimeoutMillis ?? 1_000);
    const query = standalone ? [] : [`replicaSet=${SET}`];
    let hosts = servers.map(address).join(',');
    if (keys !== undefined) {
      await createRoot(await findPrimary(servers));
      hosts = `${ROOT.user}:${ROOT.password}@${hosts}`;
      query.push('authSource=admin');
    }
    return {
      url: `mongodb://${hosts}/${query.length === 0 ? '' : `?${query.join('&')}`}`,
      replicaSet: standalone ? undefined : SET,
      members: servers,
      primary: () => findPrimary(servers),
      stepDown: () => stepDown(servers, standalone),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function address(server: ServerProcess): string {
  return `${server.host}:${server.port}`;
}

/** Until there is a user, the server lets this machine make one. */
async function createRoot(server: OwnedProcess): Promise<void> {
  const { user, password } = ROOT;
  const command = { createUser: user, pwd: password, roles: ['root'] };
  await withMember(server, (client) => client.db('admin').command(command));
}

async function startMember(
  binary: Binary,
  { standalone, keyFile }: { readonly standalone: boolean; readonly keyFile: string | undefined },
  startTimeoutMs: number,
): Promise<ServerProcess> {
  return ServerProcess.start({
    name: 'MongoDB',
    command: binary.path,
    folder: await temporaryFolder('mongo'),
    startTimeoutMs,
    // Nothing to save: the data go with the folder.
    stopSignal: 'SIGKILL',
    args: ({ port, data }) => [
      ...['--bind_ip', LOOPBACK, '--port', String(port), '--dbpath', data, '--quiet', '--nounixsocket'],
      // By default each server would take half the machine's memory.
      ...['--wiredTigerCacheSizeGB', '0.25', '--setParameter', 'diagnosticDataCollectionEnabled=false'],
      ...(standalone ? [] : ['--replSet', SET, '--oplogSize', '128']),
      ...(keyFile === undefined ? [] : ['--keyFile', keyFile]),
    ],
    ready: ({ port, pid }) =>
      withMember({ host: LOOPBACK, port }, async (client) => {
        // Nobody has a right to more.
        if (keyFile !== undefined) return void (await client.db('admin').command({ hello: 1 }));
        const status = await client.db('admin').command({ serverStatus: 1, repl: 0, metrics: 0 });
        if (Number(status['pid']) !== pid) throw new Error('another process has the port');
      }),
  });
}

async function initiate(servers: readonly ServerProcess[], electionTimeoutMillis: number): Promise<void> {
  const [first] = servers;
  if (first === undefined) return;
  await withMember(first, (client) =>
    client.db('admin').command({
      replSetInitiate: {
        _id: SET,
        // All have one priority, so that no member takes the primary's role back on its own.
        members: servers.map((server, index) => ({ _id: index, host: address(server) })),
        settings: {
          electionTimeoutMillis,
          heartbeatIntervalMillis: Math.max(50, Math.min(500, Math.floor(electionTimeoutMillis / 4))),
        },
      },
    }),
  );
  await findPrimary(servers);
  await waitFor('all members of the replica set', SETTLE_MS, async () => {
    const states = await Promise.all(servers.map(hello));
    return states.every((state) => state['isWritablePrimary'] === true || state['secondary'] === true);
  });
}

async function findPrimary(servers: readonly ServerProcess[]): Promise<OwnedProcess> {
  let found: OwnedProcess | undefined;
  await waitFor('a primary of the replica set', SETTLE_MS, async () => {
    const results = await Promise.allSettled(
      servers
        .filter((server) => server.running)
        .map(async (server) => ({ server, state: await hello(server) })),
    );
    for (const result of results) {
      if (result.status === 'fulfilled' && result.value.state['isWritablePrimary'] === true) {
        found = result.value.server;
      }
    }
    return found !== undefined;
  });
  if (found === undefined) throw new Error('unreachable: the wait has found it');
  return found;
}

async function stepDown(servers: readonly ServerProcess[], standalone: boolean): Promise<void> {
  if (standalone) {
    throw new DevServicesError(
      'DEV_SERVICES_INVALID_OPTION',
      'stepDown: a standalone server has no primary to step down',
    );
  }
  const before = await findPrimary(servers);
  const alone = servers.length === 1;
  await waitFor('the next primary', SETTLE_MS, async () => {
    if ((await findPrimary(servers)) !== before) return true;
    // While it waits for the others to catch up, the primary answers nobody. So it waits for a second only, on a busy
    // machine again and again: nothing that is asked meanwhile runs out of a time-out of 10 s.
    await withMember(before, (client) =>
      client.db('admin').command(
        alone
          ? { replSetStepDown: 1, force: true }
          : // Long enough that another member is elected first.
            { replSetStepDown: 20, secondaryCatchUpPeriodSecs: 1 },
      ),
    );
    return alone;
  });
  await findPrimary(servers);
  // Whoever breaks the next primary soon needs this one as a candidate.
  if (!alone) await waitFor('the former primary as a candidate', SETTLE_MS, () => unfreeze(before));
}

async function unfreeze(server: OwnedProcess): Promise<boolean> {
  if ((await hello(server))['isWritablePrimary'] === true) return true;
  await withMember(server, (client) => client.db('admin').command({ replSetFreeze: 0 }));
  return true;
}

async function hello(server: OwnedProcess): Promise<Record<string, unknown>> {
  return withMember(server, (client) => client.db('admin').command({ hello: 1 }));
}

/** A connection to this member, whatever its role. */
async function withMember<T>(
  member: { readonly host: string; readonly port: number },
  use: (client: MongoClient) => Promise<T>,
): Promise<T> {
  const client = new MongoClient(`mongodb://${member.host}:${member.port}/?directConnection=true`, {
    serverSelectionTimeoutMS: 2_000,
    connectTimeoutMS: 2_000,
    socketTimeoutMS: 15_000,
  });
  try {
    return await use(client);
  } finally {
    await client.close(true);
  }
}
