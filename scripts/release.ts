/**
 * `pnpm release`: builds everything anew, with nothing left of earlier builds, and publishes each package whose
 * version the registry does not have.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { publicPackages } from './lib/repository.ts';
import { run } from './lib/run.ts';
import { turbo } from './lib/turbo.ts';

for (const { path } of publicPackages()) rmSync(join(path, 'dist'), { recursive: true, force: true });
const built = await turbo(['run', 'build', '--force', '--output-logs=errors-only']);
process.exitCode = built === 0 ? await run('changeset', ['publish', ...process.argv.slice(2)]) : built;
