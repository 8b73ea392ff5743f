import { defineConfig } from 'vitest/config';

// Real servers and processes, on a machine that may be busy with the tests of other packages: what is waited for comes
// when it comes, and one second, a poll's own bound, says nothing.
export default defineConfig({
  test: { testTimeout: 120_000, hookTimeout: 120_000, expect: { poll: { timeout: 15_000 } } },
});
