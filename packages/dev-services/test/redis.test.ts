import { afterEach, describe, expect, test, vi } from 'vitest';
import { type OwnedProcess, type RedisService, startRedis } from '../src/index.js';
import { impatientRedis } from './clients.js';

afterEach(() => {
  vi.unstubAllEnvs();
});

function processOf(service: RedisService): OwnedProcess {
  if (service.process === undefined) throw new Error('an owned server has a process');
  return service.process;
}

describe('Redis standalone', () => {
  test('starts and answers with the options asked for, and is gone after stop', async () => {
    const service = await startRedis({
      maxmemory: '64mb',
      maxmemoryPolicy: 'allkeys-lru',
      args: ['--hz', '50'],
    });
    try {
      await using client = impatientRedis(service.url);
      expect(await client.config('GET', 'maxmemory')).toContain(String(64 * 1024 * 1024));
      expect(await client.config('GET', 'maxmemory-policy')).toContain('allkeys-lru');
      expect(await client.config('GET', 'hz')).toContain('50');
      expect(await client.config('GET', 'bind')).toContain('127.0.0.1');
    } finally {
      await service.stop();
    }
    await using client = impatientRedis(service.url);
    await expect(client.ping()).rejects.toThrow();
  });

  test('hangs while frozen, with its connections open, and goes on when thawed', async () => {
    await using service = await startRedis({ owned: true });
    await using client = impatientRedis(service.url, 300);
    expect(await client.ping()).toBe('PONG');
    processOf(service).freeze();
    await expect(client.get('key')).rejects.toThrow(/timed out/i);
    processOf(service).thaw();
    expect(await client.set('key', 'value')).toBe('OK');
    expect(client.status).toBe('ready');
  });

  test('stops within its time although it is frozen', async () => {
    const service = await startRedis({ owned: true });
    processOf(service).freeze();
    const began = performance.now();
    await service.stop();
    expect(performance.now() - began).toBeLessThan(20_000);
    expect(processOf(service).running).toBe(false);
  });

  test('an orderly restart keeps the data; a later kill -9 brings no old snapshot back', async () => {
    await using service = await startRedis({ owned: true });
    await withKey(service.url, (client) => client.set('key', 'value'));
    await processOf(service).restart();
    expect(await withKey(service.url, (client) => client.get('key'))).toBe('value');
    await processOf(service).kill();
    await processOf(service).restart();
    expect(await withKey(service.url, (client) => client.get('key'))).toBeNull();
  });

  test('with an append-only file the data survive kill -9, and go when that is asked for', async () => {
    await using service = await startRedis({ appendonly: true, appendfsync: 'always' });
    const { port } = processOf(service);
    await withKey(service.url, (client) => client.set('key', 'value'));
    await processOf(service).kill();
    await processOf(service).restart();
    expect(processOf(service).port).toBe(port);
    expect(await withKey(service.url, (client) => client.get('key'))).toBe('value');
    await processOf(service).restart({ keepData: false });
    expect(await withKey(service.url, (client) => client.get('key'))).toBeNull();
  });

  test('says what the server itself said when it does not start', async () => {
    await expect(startRedis({ args: ['--no-such-option', '1'] })).rejects.toMatchObject({
      code: 'DEV_SERVICES_START_FAILED',
      message: expect.stringMatching(/no-such-option|Bad directive/),
    });
  });

  test('gives up after its time-out, with the reason', async () => {
    // Every command is refused until the password was given.
    await expect(
      startRedis({ startTimeoutMs: 400, args: ['--requirepass', 'secret'] }),
    ).rejects.toMatchObject({
      code: 'DEV_SERVICES_START_FAILED',
      message: expect.stringMatching(/did not answer within 400 ms \(.*NOAUTH/),
    });
  });

  test('takes free numbered databases on the server of REDIS_URL and touches no others', async () => {
    await using server = await startRedis({ owned: true });
    await withKey(`${server.url}/1`, (client) => client.set('theirs', 'precious'));
    vi.stubEnv('REDIS_URL', server.url);
    const first = await startRedis();
    const second = await startRedis();
    expect(first).toMatchObject({ origin: 'env', process: undefined, url: `${server.url}/2` });
    expect(second.url).toBe(`${server.url}/3`);
    await withKey(first.url, (client) => client.set('mine', '1'));
    await first.stop();
    await second.stop();
    expect(await withKey(`${server.url}/2`, (client) => client.dbsize())).toBe(0);
    expect(await withKey(`${server.url}/1`, (client) => client.get('theirs'))).toBe('precious');
    expect(await withKey(server.url, (client) => client.keys('*'))).toEqual([]);
  });

  test('passes REDIS_URL over when an option needs a server of its own', async () => {
    vi.stubEnv('REDIS_URL', 'redis://127.0.0.1:1');
    await expect(startRedis()).rejects.toThrow(/REDIS_URL/);
    await using service = await startRedis({ maxmemory: '32mb' });
    expect(service.process?.running).toBe(true);
  });
});

async function withKey<T>(
  url: string,
  use: (client: ReturnType<typeof impatientRedis>) => Promise<T>,
): Promise<T> {
  await using client = impatientRedis(url);
  return await use(client);
}
