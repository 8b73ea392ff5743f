import { createStarlightTypeDocPlugin } from 'starlight-typedoc';

/** What people import, and where its source begins. */
const MODULES = {
  core: 'packages/core/src/index.ts',
  'core/memory': 'packages/core/src/memory/index.ts',
  'core/faults': 'packages/core/src/faults/index.ts',
  'core/kit': 'packages/core/src/kit/index.ts',
  'store-postgres': 'packages/store-postgres/src/index.ts',
  'store-mongo': 'packages/store-mongo/src/index.ts',
  'cache-redis': 'packages/cache-redis/src/index.ts',
  'queue-bullmq': 'packages/queue-bullmq/src/index.ts',
  otel: 'packages/otel/src/index.ts',
  conformance: 'packages/conformance/src/index.ts',
  worker: 'apps/worker/src/index.ts',
};

/** TypeDoc's pages, one part for each module, made of the docstrings. */
export const reference = Object.entries(MODULES).map(([name, entry]) => {
  const [plugin, group] = createStarlightTypeDocPlugin();
  return {
    group,
    plugin: plugin({
      entryPoints: [`../../${entry}`],
      tsconfig: `../../${entry.replace(/src\/.*/, 'tsconfig.json')}`,
      output: `reference/${name.replace('/', '-')}`,
      sidebar: { label: `@lockstep/${name}`, collapsed: true },
      typeDoc: { excludeInternal: true, logLevel: 'Error', readme: 'none' },
    }),
  };
});
