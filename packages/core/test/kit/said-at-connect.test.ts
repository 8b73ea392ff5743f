import { type AddressInfo, createServer, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { saidAtConnect } from '../../src/kit/said-at-connect.js';

async function said(greet: (socket: Socket) => void, cause?: string): Promise<string | undefined> {
  const server = createServer((socket) => greet(socket.on('error', () => undefined)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const error = cause === undefined ? undefined : new Error(cause);
  const found = await saidAtConnect({ host: '127.0.0.1', port }, error, 50);
  server.close();
  return found?.message;
}

test.each([
  [
    '-DENIED Redis is running in protected mode. In this mode …\r\n',
    'DENIED Redis is running in protected mode',
  ],
  ['-ERR max number of clients reached\r\n', 'ERR max number of clients reached'],
  ['+OK\r\n', undefined],
  ['', undefined],
])('a server that says %j and ends the connection', async (text, words) => {
  expect(await said((socket) => socket.end(text))).toBe(words);
  expect(await said((socket) => socket.end(text), 'write EPIPE')).toBe(words);
});

test('a server that says nothing and waits, and one that is not asked since the cause is known', async () => {
  expect(await said(() => undefined)).toBeUndefined();
  expect(await said((socket) => socket.end('-DENIED\r\n'), 'connect ECONNREFUSED')).toBeUndefined();
});
