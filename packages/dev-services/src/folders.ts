import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { supervisor } from './supervisor/client.js';

/** A folder that goes when it is removed here or when its owner ends. */
export interface TemporaryFolder {
  readonly path: string;
  remove(): Promise<void>;
}

/** Creates an empty folder `lockstep-{name}-{random}`, readable by its owner only unless `mode` says otherwise. */
export async function temporaryFolder(
  name: string,
  parent = tmpdir(),
  mode = 0o700,
): Promise<TemporaryFolder> {
  const path = join(parent, `lockstep-${name}-${randomBytes(6).toString('hex')}`);
  const keeper = supervisor();
  await keeper.keep({ kind: 'folder', path });
  await mkdir(path, { mode });
  return {
    path,
    remove: async () => {
      // A supervisor that was killed took its folders along.
      if (!keeper.gone) await keeper.clean({ kind: 'folder', path });
    },
  };
}

/** `$XDG_CACHE_HOME/lockstep` or `~/.cache/lockstep`: outside the tree, shared by all processes of the user. */
export async function cacheFolder(): Promise<string> {
  const configured = process.env['XDG_CACHE_HOME'];
  const root = configured === undefined || configured === '' ? join(homedir(), '.cache') : configured;
  const path = join(root, 'lockstep');
  await mkdir(path, { recursive: true });
  return path;
}
