/**
 * `pnpm try:init`: a new user's first minutes. Publishes all packages to a registry of its own, and in an empty folder,
 * with an empty home, runs what the documentation says: init, the test, the migration, the worker, the example. Real
 * servers take the place of Docker's.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { delimiter, join } from 'node:path';
import { must } from './lib/execute.ts';
import { packAll } from './lib/pack.ts';
import { conclude, problem } from './lib/problems.ts';
import { ROOT } from './lib/repository.ts';
import { run } from './lib/run.ts';
import { temporaryFolder } from './lib/temporary.ts';
import { build } from './lib/turbo.ts';
import { startRegistry } from './lib/verdaccio.ts';

const SERVICES = join(ROOT, 'packages/dev-services/dist/cli.js');
const WAIT_MS = 60_000;

/** Two ports side by side that are free now: the dashboard's, and the probes'. */
async function freePorts(): Promise<number> {
  for (;;) {
    const first = createServer();
    await new Promise<void>((resolve) => first.listen(0, '127.0.0.1', resolve));
    const { port } = first.address() as { port: number };
    const second = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      second.once('error', () => resolve(false));
      second.listen(port + 1, '127.0.0.1', () => resolve(true));
    });
    await new Promise((resolve) => first.close(resolve));
    if (!isFree) continue;
    await new Promise((resolve) => second.close(resolve));
    return port;
  }
}

async function until<T>(what: string, ask: () => Promise<T | undefined>): Promise<T> {
  const deadline = Date.now() + WAIT_MS;
  while (Date.now() < deadline) {
    const answer = await ask().catch(() => undefined);
    if (answer !== undefined) return answer;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`${what}: not within ${WAIT_MS} ms`);
}

/** With its group: npm, told to end, leaves what it runs behind. */
async function ended(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('close', resolve));
  process.kill(-child.pid, 'SIGTERM');
  await gone;
}

/** A step of the documentation, with its time. */
async function step(words: string, work: () => Promise<string>): Promise<string> {
  const startedAt = Date.now();
  const said = await work();
  console.log(`✓ ${words} (${((Date.now() - startedAt) / 1000).toFixed(1)} s)`);
  return said;
}

async function tryInit(postgres: string, redis: string): Promise<void> {
  const folder = temporaryFolder('init');
  const [home, project] = [join(folder, 'home'), join(folder, 'shop')];
  for (const each of [home, project]) mkdirSync(each);
  const packages = await packAll(folder);
  const registry = await startRegistry(folder);
  const children: ChildProcess[] = [];
  try {
    const npmrc = join(folder, 'npmrc');
    const others = (await must('npm', ['config', 'get', 'registry'])).trim();
    writeFileSync(
      npmrc,
      `registry=${others}\n@lockstep:registry=${registry.url}\n${registry.authority}:_authToken=${registry.token}\n`,
    );
    for (const { tarball } of packages) {
      await must('npm', ['publish', '--userconfig', npmrc, '--registry', registry.url, tarball]);
    }
    // Nor is what this script's own package manager says of itself.
    for (const name of Object.keys(process.env)) if (/^npm_/i.test(name)) delete process.env[name];
    const env = {
      HOME: home,
      npm_config_userconfig: npmrc,
      npm_config_cache: join(folder, 'npm'),
      // What this repository brought is not the user's.
      PATH: (process.env['PATH'] ?? '')
        .split(delimiter)
        .filter((path) => !path.includes('node_modules'))
        .join(delimiter),
      DATABASE_URL: postgres,
      REDIS_URL: redis,
      QUEUE_REDIS_URL: new URL('/1', redis).href,
    };
    const user = (words: string): Promise<string> => {
      const [command = '', ...args] = words.split(' ');
      return step(words, () => must(command, args, { cwd: project, env }));
    };
    const start = (words: string, more: Record<string, string> = {}): ChildProcess => {
      const [command = '', ...args] = words.split(' ');
      const child = spawn(command, args, {
        cwd: project,
        env: { ...process.env, ...env, ...more },
        stdio: ['ignore', 'pipe', 'inherit'],
        detached: true,
      });
      children.push(child);
      return child;
    };
    await user('npx --yes @lockstep/cli init --yes');
    await user('npm test');
    await user('npx tsc');
    await user('npm run migrate');
    await user('npx lockstep attach --check');
    const port = await freePorts();
    start(`npm run worker -- --port ${port}`).stdout?.resume();
    await step('the worker is ready', () =>
      until('worker', async () => {
        const { ok } = await fetch(`http://127.0.0.1:${port + 1}/health/ready`);
        return ok ? 'ready' : undefined;
      }),
    );
    const app = start('npm start', { PORT: '0' });
    let said = '';
    app.stdout?.on('data', (chunk) => {
      said += String(chunk);
    });
    const url = await step('the example is up', () =>
      until('example', async () => /http:\S+/.exec(said)?.[0]).catch((error) => {
        throw new Error(`${error.message}:\n${said}`);
      }),
    );
    const body = JSON.stringify({ name: 'Lamp', stock: 7 });
    const put = (await (await fetch(url, { method: 'PUT', body })).json()) as { cache?: string };
    if (put.cache !== 'updated') problem(`PUT ${url}: ${JSON.stringify(put)}`);
    const got = (await (await fetch(url)).json()) as { from?: string };
    if (got.from !== 'cache') problem(`GET ${url}: ${JSON.stringify(got)}`);
    await user('npx lockstep status');
    await user('npx lockstep verify');
    const before = readFileSync(join(project, 'package.json'), 'utf8');
    const again = JSON.parse(await user('npx lockstep --json init --yes')) as {
      readonly files: readonly { readonly written: boolean }[];
    };
    if (again.files.some(({ written }) => written)) problem('a second run wrote something');
    if (readFileSync(join(project, 'package.json'), 'utf8') !== before) problem('package.json has changed');
  } finally {
    for (const child of children) await ended(child);
    await registry.stop();
  }
  conclude('set up from nothing: test, migration, worker and example run');
}

const { POSTGRES_URL, REDIS_URL } = process.env;
if (POSTGRES_URL !== undefined && REDIS_URL !== undefined) {
  await tryInit(POSTGRES_URL, REDIS_URL);
} else {
  const built = await build();
  const command = ['postgres', 'redis', '--', 'node', import.meta.filename];
  process.exitCode = built === 0 ? await run('node', [SERVICES, ...command]) : built;
}
