/** What the suites of all packages share: real servers and processes, on a machine that may be busy with other suites. */

/** Far above what anything takes. What is waited for comes when it comes; a poll's own bound, one second, says nothing. */
const PATIENCE_MS = 300_000;

export const base = {
  testTimeout: PATIENCE_MS,
  hookTimeout: PATIENCE_MS,
  expect: { poll: { timeout: PATIENCE_MS / 5 } },
};
