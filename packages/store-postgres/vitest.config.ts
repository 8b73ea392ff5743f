import { defineConfig } from 'vitest/config';
import { base } from '../../vitest.base.js';

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
      { test: { ...base, name: 'postgres' } },
      {
        test: {
          ...base,
          name: 'postgres-18',
          include: OF_RELEASES.map((file) => `test/${file}.test.ts`),
          // The one that the lockfile pins, whatever is installed.
          env: { LOCKSTEP_SERVICES_ORIGINS: 'package' },
        },
      },
    ],
  },
});
