import { readFile } from 'node:fs/promises';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { startPostgres } from '../src/index.js';
import { query } from './clients.js';

afterEach(() => {
  vi.unstubAllEnvs();
});

describe('Postgres', () => {
  test('starts, answers in a database of its own, and is gone after stop', async () => {
    const service = await startPostgres({ owned: true });
    try {
      expect(await query(service.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
      const [setting] = await query(service.url, 'SHOW fsync');
      expect(setting).toEqual({ fsync: 'off' });
      await using other = await service.database();
      await query(service.url, 'CREATE TABLE here (id int)');
      expect(await query(other.url, "SELECT to_regclass('here') AS found")).toEqual([{ found: null }]);
    } finally {
      await service.stop();
    }
    await expect(query(service.url, 'SELECT 1')).rejects.toThrow(/ECONNREFUSED/);
  });

  test('lets nobody be the superuser without its password; roles of few rights need none', async () => {
    await using service = await startPostgres({ owned: true });
    const url = new URL(service.url);
    expect(url.password.length).toBeGreaterThan(20);
    for (const password of ['', 'postgres', 'x'.repeat(32)]) {
      url.password = password;
      await expect(query(url.href, 'SELECT 1')).rejects.toThrow(/password/);
    }
    await query(service.url, 'CREATE ROLE guest LOGIN');
    url.username = 'guest';
    expect(await query(url.href, 'SELECT current_user AS me')).toEqual([{ me: 'guest' }]);
  });

  test('runs from the npm package as well as from an installed binary', async () => {
    await using service = await startPostgres({ origins: ['package'] });
    expect(service.version).toMatch(/^18\./);
    expect(await query(service.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  test('keeps commits over kill -9 and restart, and loses them when asked to', async () => {
    await using service = await startPostgres({ owned: true });
    const { process } = service;
    if (process === undefined) throw new Error('an owned server has a process');
    await query(service.url, 'CREATE TABLE kept AS SELECT 42 AS answer');
    const before = process.pid;
    await process.kill();
    expect(process.running).toBe(false);
    await expect(query(service.url, 'SELECT 1')).rejects.toThrow(/ECONNREFUSED/);
    await process.restart();
    expect(process.pid).not.toBe(before);
    expect(await query(service.url, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }]);

    await process.restart({ keepData: false });
    await expect(query(service.url, 'SELECT 1')).rejects.toThrow(/does not exist/);
    await using fresh = await service.database();
    expect(await query(fresh.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  test.runIf(process.platform === 'linux')('leaves no shared memory behind when killed', async () => {
    const service = await startPostgres({ owned: true });
    const server = service.process;
    if (server === undefined) throw new Error('an owned server has a process');
    const pids = [server.pid];
    const segments = async () => {
      const list = await readFile('/proc/sysvipc/shm', 'utf8');
      return list.split('\n').filter((line) => pids.includes(Number(line.trim().split(/\s+/)[4])));
    };
    try {
      await server.kill();
      expect(await segments()).toHaveLength(1);
      await server.restart({ keepData: false });
      pids.push(server.pid);
      expect(await segments()).toHaveLength(1);
      await server.kill();
    } finally {
      await service.stop();
    }
    expect(await segments()).toEqual([]);
  });

  test('stops soon although it is frozen', async () => {
    const service = await startPostgres({ owned: true });
    service.process?.freeze();
    const began = performance.now();
    await service.stop();
    expect(performance.now() - began).toBeLessThan(20_000);
  });

  test('answers nothing while frozen, on open connections either, and goes on when thawed', async () => {
    await using service = await startPostgres({ owned: true });
    const asleep = query(service.url, 'SELECT pg_sleep(0.2), 7 AS seven');
    service.process?.freeze();
    const answered = vi.fn();
    const probe = query(service.url, 'SELECT 1 AS one').then((rows) => {
      answered();
      return rows;
    });
    await expect(vi.waitUntil(() => answered.mock.calls.length > 0, { timeout: 500 })).rejects.toThrow();
    service.process?.thaw();
    expect(await probe).toEqual([{ one: 1 }]);
    expect(await asleep).toMatchObject([{ seven: 7 }]);
  });

  test('takes settings of the caller', async () => {
    await using service = await startPostgres({ settings: { work_mem: '7MB', max_connections: 33 } });
    expect(await query(service.url, 'SHOW work_mem')).toEqual([{ work_mem: '7MB' }]);
    expect(await query(service.url, 'SHOW max_connections')).toEqual([{ max_connections: '33' }]);
  });

  test('says what the server itself said when it does not start', async () => {
    await expect(startPostgres({ settings: { no_such_setting: 1 } })).rejects.toMatchObject({
      code: 'DEV_SERVICES_START_FAILED',
      message: expect.stringContaining('unrecognized configuration parameter "no_such_setting"'),
    });
  });

  test('takes a database of its own on the server of POSTGRES_URL, and leaves none there', async () => {
    await using server = await startPostgres({ owned: true });
    vi.stubEnv('POSTGRES_URL', server.url);
    const first = await startPostgres();
    const second = await startPostgres();
    expect(first).toMatchObject({ origin: 'env', process: undefined });
    expect(first.url).not.toBe(second.url);
    await query(first.url, 'CREATE TABLE here (id int)');
    expect(await query(second.url, "SELECT to_regclass('here') AS found")).toEqual([{ found: null }]);
    await first.stop();
    await second.stop();
    const left = await query(
      server.url,
      "SELECT count(*)::int AS n FROM pg_database WHERE datname LIKE 'lockstep%'",
    );
    expect(left).toEqual([{ n: 1 }]);
    vi.stubEnv('POSTGRES_URL', 'postgres://127.0.0.1:1/none');
    await expect(startPostgres()).rejects.toThrow(/POSTGRES_URL: .*ECONNREFUSED/);
  });
});
