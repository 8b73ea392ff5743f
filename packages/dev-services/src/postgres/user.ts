import { cp, realpath, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { execa } from 'execa';
import { DevServicesError } from '../errors.js';

export interface SystemUser {
  readonly uid: number;
  readonly gid: number;
}

/** Postgres refuses to run as root: root hands it to `postgres` or `nobody`. Undefined for everybody else. */
export async function postgresUser(): Promise<SystemUser | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of ['postgres', 'nobody']) {
    const uid = await execa('id', ['-u', name], { reject: false, timeout: 10_000 });
    const gid = await execa('id', ['-g', name], { reject: false, timeout: 10_000 });
    if (uid.exitCode === 0 && gid.exitCode === 0) return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
  }
  throw new DevServicesError(
    'DEV_SERVICES_NO_SERVER',
    "Postgres refuses to run as root, and there is no user 'postgres' or 'nobody' to run it as",
  );
}

/** A folder for temporary data that everybody can reach, even where TMPDIR lies in root's own home. */
export async function reachableTemporaryFolder(): Promise<string> {
  for (const folder of [tmpdir(), '/tmp', '/var/tmp']) {
    if (await reachable(folder)) return folder;
  }
  return tmpdir();
}

/**
 * The binaries' folder as another user can run it. A clone below `/root` is closed to others: then they are
 * copied into the server's folder, libraries and all.
 */
export async function reachableBinaries(bin: string, folder: string): Promise<string> {
  if (await reachable(await realpath(bin))) return bin;
  const copy = join(folder, 'postgres');
  await cp(dirname(bin), copy, { recursive: true, verbatimSymlinks: true });
  await execa('chmod', ['-R', 'a+rX', copy], { timeout: 30_000 });
  return join(copy, 'bin');
}

async function reachable(path: string): Promise<boolean> {
  for (let each = path; ; each = dirname(each)) {
    const { mode } = await stat(each).catch(() => ({ mode: 0 }));
    if ((mode & 0o001) === 0) return false;
    if (dirname(each) === each) return true;
  }
}
