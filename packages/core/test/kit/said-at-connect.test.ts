import { type AddressInfo, createServer, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { saidAtConnect } from '../../src/kit/said-at-connect.js';

async function said(
  greet: (socket: Socket) => void,
  cause?: string,
  timeoutMs = 60_000,
): Promise<string | undefined> {
  const server = createServer((socket) => greet(socket.on('error', () => undefined)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const error = cause === undefined ? undefined : new Error(cause);
  const found = await saidAtConnect({ host: '127.0.0.1', port }, error, timeoutMs);
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
  expect(await said(() => undefined, undefined, 50)).toBeUndefined();
  expect(await said((socket) => socket.end('-DENIED\r\n'), 'connect ECONNREFUSED')).toBeUndefined();
});

test('a server that says one byte at a time is not listened to for longer', async () => {
  const speaks = (socket: Socket): void => {
    const again = setInterval(() => socket.write('+'), 50);
    socket.on('close', () => clearInterval(again));
  };
  const before = performance.now();
  expect(await said(speaks, undefined, 200)).toBeUndefined();
  // All that is listened to at most would take ten seconds.
  expect(performance.now() - before).toBeLessThan(8_000);
});
