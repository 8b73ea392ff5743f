import { constants, globSync } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { execa } from 'execa';

/** A server's executable and what it says about itself. */
export interface Binary {
  readonly path: string;
  readonly version: string;
}

export interface BinarySearch {
  /** Names, the preferred one first. */
  readonly names: readonly string[];
  /** Folders beside those on the PATH; may hold `*`. */
  readonly places: readonly string[];
  /** Older ones are passed over. */
  readonly minimumMajor: number;
}

/** The first executable on the PATH or in the usual places that runs and is recent enough. */
export async function findBinary(search: BinarySearch): Promise<Binary | undefined> {
  const onPath = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  const folders = [...onPath, ...expand(search.places)];
  for (const name of search.names) {
    for (const folder of folders) {
      const path = join(folder, name);
      const version = (await isExecutable(path)) ? await versionOf(path) : undefined;
      if (version !== undefined && Number.parseInt(version, 10) >= search.minimumMajor)
        return { path, version };
    }
  }
  return undefined;
}

/** The output of `--version`, or nothing when the file does not run on this machine. */
export async function versionOf(path: string): Promise<string | undefined> {
  const result = await execa(path, ['--version'], { reject: false, timeout: 20_000 });
  if (result.exitCode !== 0) return undefined;
  return /\bv?=?(\d+\.\d+(?:\.\d+)?)/.exec(result.stdout)?.[1];
}

function expand(places: readonly string[]): string[] {
  const found: string[] = [];
  for (const place of places) {
    if (!place.includes('*')) found.push(place);
    else {
      const matches = globSync(place);
      // The newest version first.
      found.push(...matches.sort((a, b) => b.localeCompare(a, 'en', { numeric: true })));
    }
  }
  return found;
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
