import { InvalidOptionError } from '@lockstep/core';
import { Cluster, Redis } from 'ioredis';
import { afterAll, describe, expect, test } from 'vitest';
import { type RedisCacheOptions, redisCache } from '../src/index.js';

const url = 'redis://127.0.0.1:1';
const nodes = [{ host: '127.0.0.1', port: 1 }];
const sentinels = nodes;
const replica = new Cluster(nodes, { lazyConnect: true, scaleReads: 'slave' });
const readOnly = new Redis({ lazyConnect: true, readOnly: true });
afterAll(() => {
  replica.disconnect();
  readOnly.disconnect();
});

describe('bad options are refused by name', () => {
  const cases: readonly (readonly [string, unknown, string])[] = [
    ['no source', {}, 'redisCache'],
    ['two sources', { url, cluster: { nodes } }, 'redisCache'],
    ['an unknown option', { url, ttl: 5 }, 'redisCache.ttl'],
    ['a url that is none', { url: 'localhost:6379' }, 'redisCache.url'],
    ['a client that is none', { client: {} }, 'redisCache.client'],
    [
      'redisOptions without url',
      { sentinel: { sentinels, name: 'x' }, redisOptions: {} },
      'redisCache.redisOptions',
    ],
    ['no cluster nodes', { cluster: { nodes: [] } }, 'redisCache.cluster.nodes'],
    ['an unknown cluster option', { cluster: { nodes, node: 1 } }, 'redisCache.cluster.node'],
    [
      'reads from replicas',
      { cluster: { nodes, options: { scaleReads: 'all' } } },
      'redisCache.cluster.options.scaleReads',
    ],
    ['a client that reads from replicas', { client: replica }, 'redisCache.client.options.scaleReads'],
    ['a read-only client', { client: readOnly }, 'redisCache.client.options.readOnly'],
    [
      'a Sentinel client of replicas',
      { sentinel: { sentinels, name: 'x', role: 'slave' } },
      'redisCache.sentinel.role',
    ],
    ['no Sentinels', { sentinel: { name: 'x' } }, 'redisCache.sentinel.sentinels'],
    ['no name', { sentinel: { sentinels } }, 'redisCache.sentinel.name'],
    ['a time-out of 0', { url, commandTimeoutMs: 0 }, 'redisCache.commandTimeoutMs'],
    ['a time-out that is no number', { url, connectTimeoutMs: Number.NaN }, 'redisCache.connectTimeoutMs'],
    ['no room for commands', { url, maxPending: 0 }, 'redisCache.maxPending'],
    ['a negative number of bytes', { url, maxPendingBytes: -1 }, 'redisCache.maxPendingBytes'],
  ];
  test.each(cases)('%s', (_, options, option) => {
    const make = (): unknown => redisCache(options as RedisCacheOptions);
    expect(make).toThrow(InvalidOptionError);
    expect(make).toThrow(expect.objectContaining({ option }));
  });

  test('the address, which may hold a password, stays out of the message', () => {
    const make = (): unknown => redisCache({ url: 'http://:secret@host' });
    expect(make).toThrow(expect.not.objectContaining({ message: expect.stringContaining('secret') }));
  });
});
