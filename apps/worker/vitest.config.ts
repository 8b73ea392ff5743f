import { defineConfig } from 'vitest/config';

// Real servers and processes, on a machine that may be busy with the tests of other packages.
export default defineConfig({ test: { testTimeout: 120_000, hookTimeout: 120_000 } });
