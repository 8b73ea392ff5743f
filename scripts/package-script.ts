/** `node scripts/package-script.ts FOLDER FILE [argument …]`: builds a package and runs one of its programs. */
import { join } from 'node:path';
import { workspacePackages } from './lib/repository.ts';
import { run } from './lib/run.ts';
import { build } from './lib/turbo.ts';

const [folder = '', file = '', ...args] = process.argv.slice(2);
const target = workspacePackages().find((candidate) => candidate.folder.endsWith(`/${folder}`));
if (target === undefined) throw new Error(`no package in a folder ${folder}`);
const built = await build([target.manifest.name]);
process.exitCode = built === 0 ? await run('node', [join(target.path, file), ...args]) : built;
