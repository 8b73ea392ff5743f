import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { startPostgres } from '../src/index.js';
import { descendants } from '../src/supervisor/process-tree.js';
import { query } from './clients.js';

const OWNER = fileURLToPath(new URL('./fixtures/owner.mjs', import.meta.url));

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'owner-'));
  // Postgres runs as another user where the tests run as root.
  await chmod(folder, 0o755);
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

interface Owner {
  readonly child: ChildProcess;
  readonly url: string;
  /** The supervisor, the servers and their children. */
  readonly pids: readonly number[];
}

async function owner(kinds: string, how = 'run', env: Record<string, string> = {}): Promise<Owner> {
  const child = fork(OWNER, [kinds, how], { env: { ...process.env, ...env, TMPDIR: folder }, silent: true });
  const [message] = (await once(child, 'message')) as [{ url: string | undefined }];
  const pids = descendants(child.pid ?? 0);
  // The supervisor and the servers, with children of their own where that is Postgres.
  expect(pids.length).toBeGreaterThan(/\bpostgres/.test(kinds) && !kinds.includes('shared') ? 5 : 1);
  expect(await readdir(folder)).not.toEqual([]);
  return { child, url: message.url ?? '', pids };
}

async function nothingIsLeft({ child, pids }: Owner): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  await expect.poll(() => pids.filter(isAlive)).toEqual([]);
  expect(await readdir(folder)).toEqual([]);
  expect(await sharedMemory(pids)).toEqual([]);
}

/** The System V segments that these processes made, where the system lists them. */
async function sharedMemory(pids: readonly number[]): Promise<string[]> {
  const list = await readFile('/proc/sysvipc/shm', 'utf8').catch(() => '');
  return list.split('\n').filter((line) => pids.includes(Number(line.trim().split(/\s+/)[4])));
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // Ended, and not yet collected by the process that inherited it.
    return !/\) Z /.test(existsSync('/proc/self') ? readFileSync(`/proc/${pid}/stat`, 'utf8') : '');
  } catch {
    return false;
  }
}

describe('when their owner ends, servers and folders go', () => {
  test('by kill -9', async () => {
    const started = await owner('redis,postgres,mongo');
    started.child.kill('SIGKILL');
    await nothingIsLeft(started);
  });

  test.each(['SIGTERM', 'SIGINT'] as const)('by %s', async (signal) => {
    const started = await owner('redis');
    started.child.kill(signal);
    await nothingIsLeft(started);
  });

  test('by an exception', async () => {
    const started = await owner('redis');
    started.child.send('throw');
    await nothingIsLeft(started);
  });

  test('because it has nothing left to do', async () => {
    const started = await owner('redis', 'idle');
    started.child.send('go');
    await nothingIsLeft(started);
    expect(started.child.exitCode).toBe(0);
  });

  test('by kill -9 while its servers are frozen', async () => {
    const started = await owner('redis,postgres', 'frozen');
    started.child.kill('SIGKILL');
    await nothingIsLeft(started);
  });

  test('and its database on a server that others share', async () => {
    await using server = await startPostgres({ owned: true });
    const started = await owner('redis,shared-postgres', 'run', { POSTGRES_URL: server.url });
    const name = new URL(started.url).pathname.slice(1);
    const found = () => query(server.url, `SELECT datname FROM pg_database WHERE datname = '${name}'`);
    expect(await found()).toHaveLength(1);
    started.child.kill('SIGKILL');
    await nothingIsLeft(started);
    expect(await found()).toEqual([]);
  });
});

test('when the supervisor is killed, the owner ends the servers itself', async () => {
  const started = await owner('redis,postgres');
  const [supervisor] = started.pids;
  if (supervisor === undefined) throw new Error('there is a supervisor');
  process.kill(supervisor, 'SIGKILL');
  await expect.poll(() => started.pids.filter(isAlive)).toEqual([]);
  await expect.poll(() => readdir(folder)).toEqual([]);
  expect(await sharedMemory(started.pids)).toEqual([]);
  expect(started.child.exitCode).toBeNull();
  started.child.kill('SIGKILL');
  await once(started.child, 'exit');
});
