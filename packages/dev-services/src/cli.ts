#!/usr/bin/env node
import { parseArgs } from 'node:util';
import { execa } from 'execa';
import { DevServicesError, messageOf } from './errors.js';
import { startMongo } from './mongo/start.js';
import { startPostgres } from './postgres/start.js';
import { startRedisCluster } from './redis/cluster.js';
import { startRedisSentinel } from './redis/sentinel.js';
import { startRedis } from './redis/standalone.js';

const USAGE = `Usage: services [options] [server …] [-- command …]

Starts real servers on free loopback ports and prints their addresses as environment variables. They run until
Ctrl-C, or until the command ends, which finds the variables set. Nothing is left behind.

Servers (default: postgres redis)
  postgres         POSTGRES_URL
  redis            REDIS_URL
  redis-sentinel   REDIS_SENTINELS, REDIS_SENTINEL_NAME
  redis-cluster    REDIS_CLUSTER_NODES
  mongo            MONGO_URL, a replica set of one member
  mongo-3          MONGO_URL, a replica set of three members

Options
  --json           print one JSON object instead of lines
  -h, --help       this text
`;

interface Started {
  readonly variables: Readonly<Record<string, string>>;
  /** A line for people: what it is, and what the start took. */
  readonly report: string;
  stop(): Promise<void>;
}

const SERVERS: Readonly<Record<string, () => Promise<Started>>> = {
  postgres: async () => {
    const service = await startPostgres();
    return single(service, { POSTGRES_URL: service.url });
  },
  redis: async () => {
    const service = await startRedis();
    return single(service, { REDIS_URL: service.url });
  },
  'redis-sentinel': async () => {
    const service = await startRedisSentinel();
    const sentinels = service.sentinels.map(({ host, port }) => `${host}:${port}`).join(',');
    return single(
      { ...service, kind: 'redis-sentinel' },
      { REDIS_SENTINELS: sentinels, REDIS_SENTINEL_NAME: service.name },
    );
  },
  'redis-cluster': async () => {
    const service = await startRedisCluster();
    const nodes = service.nodes.map(({ host, port }) => `${host}:${port}`).join(',');
    return single({ ...service, kind: 'redis-cluster' }, { REDIS_CLUSTER_NODES: nodes });
  },
  mongo: async () => {
    const service = await startMongo();
    return single(service, { MONGO_URL: service.url });
  },
  'mongo-3': async () => {
    const service = await startMongo({ members: 3 });
    return single(service, { MONGO_URL: service.url });
  },
};

function single(
  service: { kind: string; version: string; startMs: number; origin?: string; stop(): Promise<void> },
  variables: Record<string, string>,
): Started {
  const origin = service.origin === undefined ? '' : ` (${service.origin})`;
  return {
    variables,
    report: `${service.kind} ${service.version}${origin} in ${service.startMs} ms`,
    stop: () => service.stop(),
  };
}

async function main(): Promise<number> {
  const split = process.argv.indexOf('--', 2);
  const own = split === -1 ? process.argv.slice(2) : process.argv.slice(2, split);
  const command = split === -1 ? [] : process.argv.slice(split + 1);
  const { values, positionals } = parseArgs({
    args: own,
    allowPositionals: true,
    options: {
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const names = positionals.length === 0 ? ['postgres', 'redis'] : [...new Set(positionals)];
  const starts = names.map((name) => {
    const start = SERVERS[name];
    if (start !== undefined) return start;
    const known = Object.keys(SERVERS).join(', ');
    throw new DevServicesError(
      'DEV_SERVICES_INVALID_OPTION',
      `There is no server '${name}': choose from ${known}`,
    );
  });
  const interrupted = untilInterrupted();
  const results = await Promise.allSettled(starts.map((start) => start()));
  const started = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  try {
    for (const result of results) if (result.status === 'rejected') throw result.reason;
    for (const { report } of started) console.error(report);
    const variables: Record<string, string> = Object.assign({}, ...started.map((each) => each.variables));
    if (command.length > 0) return await run(command, variables, interrupted);
    const lines = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
    process.stdout.write(`${values.json ? JSON.stringify(variables) : lines.join('\n')}\n`);
    await interrupted;
    return 0;
  } finally {
    await Promise.allSettled(started.map((each) => each.stop()));
  }
}

async function run(
  command: readonly string[],
  env: Readonly<Record<string, string>>,
  interrupted: Promise<void>,
): Promise<number> {
  const [file = '', ...args] = command;
  const abort = new AbortController();
  // The terminal sends its signal to the command as well; this is for a signal sent to this process alone.
  void interrupted.then(() => abort.abort());
  const result = await execa(file, args, {
    env,
    stdio: 'inherit',
    reject: false,
    cancelSignal: abort.signal,
  });
  return result.exitCode ?? 1;
}

/** Resolves at the first signal. A second one ends this process at once; the supervisor still cleans up. */
function untilInterrupted(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  // A promise alone does not keep a process alive.
  const alive = setInterval(() => undefined, 60_000);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => {
      clearInterval(alive);
      resolve();
    });
  }
  return promise;
}

try {
  process.exit(await main());
} catch (error) {
  console.error(messageOf(error));
  process.exit(1);
}
