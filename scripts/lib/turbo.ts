import { type RunOptions, run } from './run.ts';

/** Runs turbo: no telemetry, no notices, logs package by package. Resolves to its exit code. */
export function turbo(args: readonly string[], options: RunOptions = {}): Promise<number> {
  return run('turbo', args, {
    ...options,
    env: {
      TURBO_TELEMETRY_DISABLED: '1',
      TURBO_NO_UPDATE_NOTIFIER: '1',
      DO_NOT_TRACK: '1',
      ...options.env,
    },
  });
}

/** Builds these packages and what they need, everything without names; says nothing unless it fails. */
export function build(packages: readonly string[] = []): Promise<number> {
  const filters = packages.map((name) => `--filter=${name}`);
  return turbo(['run', 'build', ...filters, '--output-logs=errors-only', '--log-order=grouped']);
}
