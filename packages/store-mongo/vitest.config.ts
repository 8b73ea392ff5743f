import { defineConfig } from 'vitest/config';

// Real servers on a shared machine: a case that hangs still ends by itself.
export default defineConfig({ test: { testTimeout: 30_000, hookTimeout: 120_000 } });
