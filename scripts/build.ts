/** `pnpm build [package …]`: builds the packages and what they need. */
import { turbo } from './lib/turbo.ts';

const filters = process.argv.slice(2).map((name) => `--filter=${name}`);
process.exitCode = await turbo(['run', 'build', '--output-logs=new-only', ...filters]);
