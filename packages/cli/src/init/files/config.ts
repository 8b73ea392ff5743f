import type { Entity } from './entity.js';
import { type Layout, lines, typed } from './layout.js';

export const POSTGRES_URL = 'postgres://lockstep:lockstep@127.0.0.1:5432/app';
const MONGO_URL = 'mongodb://127.0.0.1:27017/app?replicaSet=rs0&directConnection=true';
const REDIS_URL = 'redis://127.0.0.1:6379';
const QUEUE_REDIS_URL = 'redis://127.0.0.1:6380';

/** `lockstep.config`: what application, worker, tests and command line share. */
export function configFile(layout: Layout): string {
  const { choices, entities, hasWorker } = layout;
  const has = (where: Entity['where']): boolean => entities.some((entity) => entity.where === where);
  const isMemoryStore = has('memory');
  const isMemoryCache = choices.cache === 'memory';
  const fromMemory = [isMemoryCache && 'memoryCache', isMemoryStore && 'memoryStore'].filter(Boolean);
  const t = (ts: string, js = ''): string => typed(layout, ts, js);
  return lines(
    '/**',
    ` * The collections, and the servers that they live on: shared by the application${hasWorker ? ', the worker' : ''}, tests`,
    ' * and the command line (npx lockstep …).',
    ' */',
    !isMemoryCache && "import { redisCache } from '@lockstep/cache-redis';",
    `import { createLockstep${t(', type Lockstep, type StoreAdapter')} } from '@lockstep/core';`,
    fromMemory.length > 0 && `import { ${fromMemory.join(', ')} } from '@lockstep/core/memory';`,
    choices.queue === 'bullmq' && "import { bullmqQueue } from '@lockstep/queue-bullmq';",
    has('mongo') && "import { mongoStore } from '@lockstep/store-mongo';",
    has('postgres') && "import { postgresStore } from '@lockstep/store-postgres';",
    layout.isTypeScript && "import type { WorkerConfig } from '@lockstep/worker';",
    has('postgres') && "import knexPackage from 'knex';",
    has('mongo') && "import { MongoClient } from 'mongodb';",
    '',
    ...entities.flatMap((entity) => [typeOf(layout, entity), '']),
    '/** Declares the collections on their stores; tests hand in stores in memory. */',
    ...declaration(layout),
    '',
    '/** Connects at first use. Whoever calls it closes it. */',
    'export function connect() {',
    has('postgres') &&
      lines(
        '  const knex = knexPackage({',
        "    client: 'pg',",
        `    connection: process.env['DATABASE_URL'] ?? '${POSTGRES_URL}',`,
        '    pool: { min: 0, max: 10 },',
        '  });',
        '  const postgres = postgresStore({ knex });',
      ).trimEnd(),
    has('mongo') &&
      lines(
        `  const client = new MongoClient(process.env['MONGO_URL'] ?? '${MONGO_URL}');`,
        '  const mongo = mongoStore({ client, db: client.db() });',
      ).trimEnd(),
    '  const lockstep = createLockstep({',
    isMemoryCache
      ? '    cache: memoryCache(),'
      : `    cache: redisCache({ url: process.env['REDIS_URL'] ?? '${REDIS_URL}' }),`,
    choices.queue === 'bullmq' &&
      lines(
        '    // A Redis of its own, which must not evict: maxmemory-policy noeviction.',
        '    queue: bullmqQueue({',
        `      connection: { url: process.env['QUEUE_REDIS_URL'] ?? '${QUEUE_REDIS_URL}' },`,
        '    }),',
      ).trimEnd(),
    '  });',
    '  const collections = declareCollections(lockstep, {',
    ...entities.map((entity) => `    ${entity.collection}: ${storeOf(layout, entity)},`),
    '  });',
    '  const close = async () => {',
    '    await lockstep.close();',
    has('postgres') && '    await knex.destroy();',
    has('mongo') && '    await client.close();',
    '  };',
    '  return { lockstep, ...collections, close };',
    '}',
    '',
    t('let connected: ReturnType<typeof connect> | undefined;', 'let connected;'),
    '',
    hasWorker
      ? '// What `lockstep worker` and the other commands run on. Options of the worker go here: port, maxFeedLagMs, …'
      : '// What the commands of `lockstep` run on.',
    t('export default {', "/** @satisfies {import('@lockstep/worker').WorkerConfig} */\nexport default {"),
    '  lockstep: () => {',
    '    connected = connect();',
    '    return connected.lockstep;',
    '  },',
    '  close: async () => {',
    '    await connected?.close();',
    '  },',
    t('} satisfies WorkerConfig;', '};'),
  );
}

function typeOf(layout: Layout, { fields, type }: Entity): string {
  if (layout.isTypeScript) {
    return [`export interface ${type} {`, ...fields.map((field) => `  ${field};`), '}'].join('\n');
  }
  return `/** @typedef {{ ${fields.join(', ')} }} ${type} */`;
}

/** One type parameter for each database, so that `write` and `transaction` know the handle of its driver. */
function declaration(layout: Layout): string[] {
  const { entities } = layout;
  const made = entities.map(
    ({ collection }) =>
      `    ${collection}: lockstep.collection({ name: '${collection}', store: stores.${collection} }),`,
  );
  const body = ['  return {', ...made, '  };', '}'];
  if (!layout.isTypeScript) return [`export function declareCollections(lockstep, stores) {`, ...body];
  const handle = (entity: Entity): string => `${entity.type}Tx`;
  return [
    `export function declareCollections<${entities.map(handle).join(', ')}>(`,
    '  lockstep: Lockstep,',
    '  stores: {',
    ...entities.map(
      (entity) =>
        `    ${entity.collection}: StoreAdapter<${entity.type}, ${entity.idType}, ${handle(entity)}>;`,
    ),
    '  },',
    ') {',
    ...body,
  ];
}

/** A store in memory takes text for ids unless it is told how to make text of them. */
export function memoryStoreOf(
  layout: Layout,
  { collection, idType, type }: Pick<Entity, 'collection' | 'idType' | 'type'>,
): string {
  const keyOf = idType === 'number' ? ', keyOf: String' : '';
  return `memoryStore${typed(layout, `<${type}, ${idType}>`)}({ name: '${collection}'${keyOf} })`;
}

function storeOf(layout: Layout, entity: Entity): string {
  const { collection, idType, type, where } = entity;
  const types = typed(layout, `<${type}, ${idType}>`);
  if (where === 'postgres') return `postgres.table${types}('${collection}', { key: 'id' })`;
  if (where === 'mongo') return `mongo.collection${typed(layout, `<${type}>`)}('${collection}')`;
  return memoryStoreOf(layout, entity);
}
