import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { expect, test } from 'vitest';
import { systemClock } from '../../src/contracts/clock.js';

const TIMEOUT_MS = 20;

function holdUp(ms: number): void {
  const untilMs = performance.now() + ms;
  while (performance.now() < untilMs);
}

test('an answer that arrived while the event loop was held up comes before the time-out', async () => {
  const server = createServer((socket) => {
    socket.setNoDelay().on('data', (data) => {
      socket.write(data);
      // The answer is there; the next turn of the loop begins with its timers.
      holdUp(3 * TIMEOUT_MS);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const socket = connect(port, '127.0.0.1').setNoDelay();
  await once(socket, 'connect');
  const order: string[] = [];
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const answered = once(socket, 'data').then(() => order.push('answer'));
  socket.write('?');
  systemClock.schedule(() => {
    order.push('time-out');
    resolve();
  }, TIMEOUT_MS);
  await Promise.all([answered, late]);
  expect(order).toEqual(['answer', 'time-out']);
  socket.destroy();
  server.close();
});

test('a timer that was ended does not call back, not even in its last moment', async () => {
  let called = false;
  const cancel = systemClock.schedule(() => {
    called = true;
  }, 1);
  const ended = new Promise<void>((resolve) => {
    setTimeout(() => {
      cancel();
      setImmediate(() => setImmediate(resolve));
    }, 1);
  });
  // Both timers are due in one turn of the loop, this test's behind the clock's.
  holdUp(5);
  await ended;
  expect(called).toBe(false);
});
