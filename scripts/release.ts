/** `pnpm release`: builds everything anew and publishes each package whose version the registry does not have. */
import { run } from './lib/run.ts';
import { turbo } from './lib/turbo.ts';

const built = await turbo(['run', 'build', '--force', '--output-logs=errors-only']);
process.exitCode = built === 0 ? await run('changeset', ['publish', ...process.argv.slice(2)]) : built;
