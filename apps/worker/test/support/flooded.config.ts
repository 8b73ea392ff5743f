import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import config from './lockstep.config.js';

// The control of a flood: an endpoint in the worker's process that does work for each request, as none of the worker's may.
const WORK_MS = 2;
const server = createServer((_, response) => {
  const untilMs = performance.now() + WORK_MS;
  while (performance.now() < untilMs);
  response.end();
});
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo;
  console.log(JSON.stringify({ level: 30, msg: 'control', url: `http://127.0.0.1:${port}` }));
});

export default config;
