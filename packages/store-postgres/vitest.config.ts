import { defineConfig } from 'vitest/config';

const test = { testTimeout: 30_000, hookTimeout: 120_000 };

/** What depends on the server's release: triggers, the catalogue, the texts of types. */
const OF_RELEASES = [
  'attach',
  'catalogue',
  'detached',
  'exact-values',
  'feed',
  'recorded-together',
  'requirements',
  'stamped',
  'writes',
];

export default defineConfig({
  test: {
    projects: [
      { test: { ...test, name: 'postgres' } },
      {
        test: {
          ...test,
          name: 'postgres-18',
          include: OF_RELEASES.map((file) => `test/${file}.test.ts`),
          // The one that the lockfile pins, whatever is installed.
          env: { LOCKSTEP_SERVICES_ORIGINS: 'package' },
        },
      },
    ],
  },
});
