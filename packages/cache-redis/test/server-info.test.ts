import { expect, test } from 'vitest';
import { serverInfo } from '../src/server-info.js';
import type { Topology } from '../src/topology/topology.js';

test.each([
  ['redis_version:6.0.16', 'Redis 6.0.16', /needs Redis 6\.2/],
  ['redis_version:5.0.7', 'Redis 5.0.7', /needs Redis 6\.2/],
  ['redis_version:6.2.14', 'Redis 6.2.14', undefined],
  ['redis_version:10.0.0', 'Redis 10.0.0', undefined],
  ['redis_version:7.2.4\r\nvalkey_version:9.1.2', 'Valkey 9.1.2', undefined],
  ['', 'Redis unknown', undefined],
])('a server that says "%s": %s', async (told, description, outdated) => {
  const server = { info: async (section: string) => (section === 'server' ? told : '') };
  const topology = { primaries: () => [server], description: 'standalone' } as unknown as Topology;
  const info = await serverInfo(topology, 10_000);
  expect(info.description).toContain(`${description}, standalone`);
  if (outdated === undefined) expect(info.outdated).toBeUndefined();
  else expect(info.outdated).toMatch(outdated);
});
