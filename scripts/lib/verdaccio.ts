import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';

const START_TIMEOUT_MS = 60_000;
const POLL_MS = 200;

export interface Registry {
  readonly url: string;
  /** The host and port as npm's configuration names them: `//127.0.0.1:4873/`. */
  readonly authority: string;
  readonly token: string;
  stop(): Promise<void>;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port is free');
  return address.port;
}

async function createUser(url: string): Promise<string> {
  const response = await fetch(`${url}-/user/org.couchdb.user:rehearsal`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'rehearsal', password: 'only-for-this-minute' }),
  });
  const body: { token?: string } = JSON.parse(await response.text());
  if (body.token === undefined) throw new Error(`the registry made no user: ${response.status}`);
  return body.token;
}

/** Starts an empty npm registry on loopback, which knows of no other registry and keeps its data in `folder`. */
export async function startRegistry(folder: string): Promise<Registry> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}/`;
  const config = join(folder, 'verdaccio.yaml');
  writeFileSync(
    config,
    `storage: ${join(folder, 'storage')}
auth: { htpasswd: { file: ${join(folder, 'htpasswd')} } }
uplinks: {}
packages:
  '**': { access: $all, publish: $authenticated }
max_body_size: 20mb
web: { enable: false }
log: { type: stdout, level: error }
`,
  );
  const child = spawn('verdaccio', ['--config', config, '--listen', `127.0.0.1:${port}`], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const kill = (): void => void child.kill('SIGKILL');
  process.on('exit', kill);
  const deadline = Date.now() + START_TIMEOUT_MS;
  const answers = (): Promise<boolean> =>
    fetch(`${url}-/ping`).then(
      ({ ok }) => ok,
      () => false,
    );
  while (!(await answers())) {
    if (child.exitCode !== null || Date.now() > deadline) throw new Error('Verdaccio did not start');
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  return {
    url,
    authority: url.slice('http:'.length),
    token: await createUser(url),
    stop: async () => {
      child.kill('SIGTERM');
      const timer = setTimeout(kill, 5_000);
      await exited;
      clearTimeout(timer);
      process.off('exit', kill);
    },
  };
}
