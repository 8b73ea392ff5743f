import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Binary, versionOf } from '../binaries/find.js';
import { DevServicesError } from '../errors.js';
import { cacheFolder } from '../folders.js';

const SITE = 'https://fastdl.mongodb.org/';
const REACH_TIMEOUT_MS = 3_000;
const DOWNLOAD_TIMEOUT_MS = 300_000;

/** The official binary, if `mongodb-memory-server` has downloaded it into the cache folder before. */
export async function cachedOfficialMongod(): Promise<Binary | undefined> {
  const { DryMongoBinary } = await import('mongodb-memory-server-core');
  const options = await DryMongoBinary.generateOptions({ downloadDir: await downloadFolder() });
  const path = await DryMongoBinary.locateBinary(options);
  const version = path === undefined ? undefined : await versionOf(path);
  return path === undefined || version === undefined ? undefined : { path, version };
}

/** Downloads the official binary through `mongodb-memory-server`; rejects within seconds where that is closed. */
export async function downloadOfficialMongod(): Promise<Binary> {
  await reach();
  const { MongoBinary } = await import('mongodb-memory-server-core');
  const downloading = MongoBinary.getPath({ downloadDir: await downloadFolder() });
  const { promise: tooLate, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    reject(new DevServicesError('DEV_SERVICES_NO_SERVER', `no download within ${DOWNLOAD_TIMEOUT_MS} ms`));
  }, DOWNLOAD_TIMEOUT_MS);
  try {
    const path = await Promise.race([downloading, tooLate]);
    const version = await versionOf(path);
    if (version === undefined) {
      throw new DevServicesError('DEV_SERVICES_NO_SERVER', `${path} does not run on this machine`);
    }
    return { path, version };
  } finally {
    clearTimeout(timer);
  }
}

/** The library itself retries an unreachable site for many seconds. */
async function reach(): Promise<void> {
  // Node's fetch knows nothing of a proxy, the library does.
  if (process.env['HTTPS_PROXY'] ?? process.env['https_proxy']) return;
  try {
    await fetch(SITE, { method: 'HEAD', signal: AbortSignal.timeout(REACH_TIMEOUT_MS) });
  } catch (error) {
    throw new DevServicesError('DEV_SERVICES_NO_SERVER', `${SITE} can't be reached`, { cause: error });
  }
}

async function downloadFolder(): Promise<string> {
  const folder = join(await cacheFolder(), 'mongodb');
  await mkdir(folder, { recursive: true });
  return folder;
}
