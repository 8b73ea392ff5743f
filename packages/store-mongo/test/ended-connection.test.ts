import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { connect, createServer, type Socket } from 'node:net';
import { MongoClient } from 'mongodb';
import { expect, test } from 'vitest';
import { mongoStore } from '../src/store.js';
import { testServer } from './support/server.js';

const server = testServer();

/**
 * A connection that its server ends in order, as a process that is killed does, is no longer writable for a moment
 * before the driver hears of it (mongodb 7.9): what is sent on it then is never answered, nor refused.
 */
test('a read on a connection that its server has just ended is answered within its time', async () => {
  const { hostname, port } = new URL(server.service.url);
  const reads = new Map<number, Socket>();
  const proxy = createServer((down) => {
    const up = connect(Number(port), hostname);
    for (const socket of [down, up]) socket.on('error', () => {});
    up.pipe(down, { end: false });
    down.on('data', (sent) => {
      if (sent.includes('\u0002find\0')) reads.set(down.remotePort ?? 0, down);
      up.write(sent);
    });
    down.on('close', () => up.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const { port: proxied } = proxy.address() as { port: number };
  const sockets: Socket[] = [];
  const onSocket = (message: unknown): void => void sockets.push((message as { socket: Socket }).socket);
  subscribe('net.client.socket', onSocket);
  await using client = new MongoClient(`mongodb://127.0.0.1:${proxied}/?directConnection=true`);
  const store = mongoStore({ client, db: server.service.databaseName });
  const things = store.collection<{ _id: string }>('things');
  await store.attach(things);
  await things.open();
  const reading = { timeoutMs: 4_000, primary: true } as const;
  await things.read(['a'], reading);
  // The last that a read used is the next to be used.
  const [ownPort, ended] = [...reads].at(-1) ?? [];
  const own = sockets.find(({ localPort }) => localPort === ownPort);
  const answer = new Promise((resolve, reject) => {
    own?.once('finish', () => setImmediate(() => things.read(['a'], reading).then(resolve, reject)));
  });
  ended?.end();
  expect(await answer).toEqual([undefined]);
  unsubscribe('net.client.socket', onSocket);
  await store.close();
  await client.close();
  proxy.close();
});
