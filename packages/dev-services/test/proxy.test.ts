import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type RedisService, startProxy, startRedis, type TcpProxy } from '../src/index.js';
import { impatientRedis } from './clients.js';

let redis: RedisService;
let proxy: TcpProxy;

beforeAll(async () => {
  redis = await startRedis({ owned: true });
  proxy = await startProxy({ target: redis.url });
});

afterAll(async () => {
  await proxy.stop();
  await redis.stop();
});

beforeEach(async () => {
  await proxy.heal();
  await using direct = impatientRedis(redis.url);
  await direct.flushall();
});

describe('the TCP proxy', () => {
  test('passes everything, large values too, until it is told otherwise', async () => {
    expect(proxy.url).toBe(`redis://127.0.0.1:${proxy.port}`);
    await using client = impatientRedis(proxy.url);
    const large = 'x'.repeat(8_000_000);
    await client.set('large', large);
    expect(await client.get('large')).toBe(large);
  });

  test('delays each direction, in order', async () => {
    await using client = impatientRedis(proxy.url);
    await client.ping();
    proxy.delay(150);
    const began = performance.now();
    const replies = await Promise.all([client.incr('n'), client.incr('n'), client.incr('n')]);
    expect(performance.now() - began).toBeGreaterThanOrEqual(295);
    expect(replies).toEqual([1, 2, 3]);
    proxy.delay(0);
    expect(await client.incr('n')).toBe(4);
  });

  test('drops requests: nothing arrives and nobody answers, on an open connection', async () => {
    await using client = impatientRedis(proxy.url, 300);
    await client.ping();
    proxy.drop('request');
    await expect(client.set('key', 'lost')).rejects.toThrow(/timed out/i);
    expect(client.status).toBe('ready');
    expect(await directly('key')).toBeNull();
  });

  test('drops replies: the request takes effect and its answer is lost', async () => {
    await using client = impatientRedis(proxy.url, 300);
    await client.ping();
    proxy.drop('reply');
    await expect(client.set('key', 'written')).rejects.toThrow(/timed out/i);
    expect(await directly('key')).toBe('written');
    await proxy.heal();
    // What follows a lost reply would be taken for it: the connection is reset instead.
    await expect.poll(() => client.status).toBe('end');
  });

  test('holds requests back and delivers them late', async () => {
    await using client = impatientRedis(proxy.url);
    await client.ping();
    proxy.hold('request');
    const late = client.set('key', 'late');
    await using direct = impatientRedis(redis.url);
    await direct.set('key', 'newer');
    expect(await direct.get('key')).toBe('newer');
    await proxy.heal();
    expect(await late).toBe('OK');
    expect(await directly('key')).toBe('late');
  });

  test('half-opens: the server is gone, the client does not know, new connections work', async () => {
    await using client = impatientRedis(proxy.url, 300);
    await client.ping();
    proxy.halfOpen();
    await expect(client.set('key', 'vanished')).rejects.toThrow(/timed out/i);
    expect(client.status).toBe('ready');
    await using second = impatientRedis(proxy.url);
    expect(await second.get('key')).toBeNull();
  });

  test('cuts: connections are reset and refused, until it is healed', async () => {
    await using client = impatientRedis(proxy.url);
    await client.ping();
    await proxy.cut();
    await expect.poll(() => client.status).toBe('end');
    expect(proxy.connections).toBe(0);
    await using refused = impatientRedis(proxy.url);
    await expect(refused.ping()).rejects.toThrow();
    await proxy.heal();
    await using healed = impatientRedis(proxy.url);
    expect(await healed.ping()).toBe('PONG');
  });

  test('cuts in the middle of a command, and instead of a reply', async () => {
    await using first = impatientRedis(proxy.url);
    await first.ping();
    proxy.cutAfter(10, 'request');
    await expect(first.set('key', 'torn')).rejects.toThrow();
    expect(await directly('key')).toBeNull();

    await using second = impatientRedis(proxy.url);
    await second.ping();
    proxy.cutAfter(0, 'reply');
    await expect(second.set('key', 'unanswered')).rejects.toThrow();
    expect(await directly('key')).toBe('unanswered');
  });
});

async function directly(key: string): Promise<string | null> {
  await using client = impatientRedis(redis.url);
  return await client.get(key);
}
