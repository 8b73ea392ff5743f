/**
 * `pnpm try:init [MANAGER…] [--store STORE] [--queue QUEUE] [--project new|existing|workspace] [--docker]`: a new user's
 * first minutes. Publishes all packages to a registry of its own, and with an empty home runs what the documentation says:
 * init, the types, the test, the migration, the worker, the example. Real servers take the place of Docker's, unless
 * `--docker` says that there is one, and that the ports of the compose file are free.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { delimiter, join } from 'node:path';
import { parseArgs } from 'node:util';
import { must } from './lib/execute.ts';
import { installManager, MANAGERS, writeRegistries } from './lib/managers.ts';
import { packAll } from './lib/pack.ts';
import { conclude, problem } from './lib/problems.ts';
import { ROOT } from './lib/repository.ts';
import { temporaryFolder } from './lib/temporary.ts';
import { build } from './lib/turbo.ts';
import { type Registry, startRegistry } from './lib/verdaccio.ts';

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

const PROJECTS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  new: {},
  existing: {
    'package.json':
      '{\n\t"name": "old",\n\t"scripts": { "start": "node server.js", "test": "node --test" }\n}\n',
    'tsconfig.json': '{ "compilerOptions": { "strict": true, "module": "commonjs", "outDir": "dist" } }\n',
    'server.js': "require('node:http').createServer().listen(0);\n",
  },
  workspace: {
    '../../package.json': '{ "name": "root", "private": true, "workspaces": ["packages/*"] }\n',
    '../../pnpm-workspace.yaml': "packages: ['packages/*']\n",
    'package.json': '{ "name": "shop", "version": "1.0.0", "type": "module" }\n',
    'tsconfig.json': '{ "compilerOptions": { "strict": true, "module": "nodenext", "noEmit": true } }\n',
  },
};

const SERVERS: Readonly<Record<string, readonly string[]>> = {
  postgres: ['postgres'],
  mongo: ['mongo'],
  both: ['postgres', 'mongo'],
};

/** What dev-services prints when its servers run. */
async function addressesOf({ stdout }: ChildProcess): Promise<Readonly<Record<string, string>>> {
  let said = '';
  for await (const chunk of stdout ?? []) {
    said += String(chunk);
    if (said.endsWith('\n')) break;
  }
  const addresses: Record<string, string> = JSON.parse(said);
  return addresses;
}

interface Trial {
  readonly name: string;
  readonly project: string;
  readonly store: string;
  readonly queue: string;
  readonly docker: boolean;
}

async function tryInit(trial: Trial, folder: string, registry: Registry, others: string): Promise<void> {
  const manager = MANAGERS[trial.name];
  if (manager === undefined) throw new Error(`${trial.name}: there are ${Object.keys(MANAGERS).join(', ')}`);
  console.log(`\n── ${trial.name}, ${trial.project} project, ${trial.store}, queue ${trial.queue}`);
  const own = join(folder, trial.name);
  const home = join(own, 'home');
  const project = join(own, 'code', ...(trial.project === 'workspace' ? ['packages', 'shop'] : ['shop']));
  for (const each of [home, project]) mkdirSync(each, { recursive: true });
  writeRegistries(home, registry, others);
  for (const [file, text] of Object.entries(PROJECTS[trial.project] ?? {})) {
    if (file.endsWith('pnpm-workspace.yaml') && trial.name !== 'pnpm') continue;
    writeFileSync(join(project, file), text);
  }
  const commands = await installManager(manager, join(own, 'manager'));
  const children: ChildProcess[] = [];
  // What this script's own package manager says of itself is not the user's.
  for (const name of Object.keys(process.env)) if (/^npm_/i.test(name)) delete process.env[name];
  // What this repository brought is not the user's.
  const path = (process.env['PATH'] ?? '').split(delimiter).filter((each) => !each.includes('node_modules'));
  const env: Record<string, string> = {
    HOME: home,
    npm_config_cache: join(own, 'npm'),
    PATH: [...commands, ...path].join(delimiter),
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
  let runsCompose = false;
  try {
    if (!trial.docker) {
      const servers = ['--json', ...(SERVERS[trial.store] ?? []), 'redis'];
      const services = spawn('node', [SERVICES, ...servers], {
        stdio: ['ignore', 'pipe', 'inherit'],
        detached: true,
      });
      children.push(services);
      const { MONGO_URL = '', POSTGRES_URL = '', REDIS_URL = '' } = await addressesOf(services);
      Object.assign(env, {
        DATABASE_URL: POSTGRES_URL,
        MONGO_URL,
        REDIS_URL,
        QUEUE_REDIS_URL: new URL('/1', REDIS_URL).href,
      });
    }
    const choices = `--store ${trial.store} --queue ${trial.queue} --yes${manager.flags}`;
    await user(`${manager.once} @lockstep/cli init ${choices}`);
    const text = readFileSync(join(project, 'package.json'), 'utf8');
    const { devDependencies = {}, scripts } = JSON.parse(text) as {
      readonly devDependencies?: Readonly<Record<string, string>>;
      readonly scripts: Readonly<Record<string, string>>;
    };
    const run = (name: string): string =>
      `${manager.script} ${`lockstep:${name}` in scripts ? `lockstep:${name}` : name}`;
    await user(run('test'));
    if (trial.docker) {
      runsCompose = true;
      await user(run('services'));
    }
    if ('typescript' in devDependencies) await user(`${manager.local} tsc`);
    await user(run('migrate'));
    await user(`${manager.local} lockstep attach --check`);
    const port = await freePorts();
    start(`${run('worker')}${manager.separator} --port ${port}`).stdout?.resume();
    await step('the worker is ready', () =>
      until('worker', async () => {
        const { ok } = await fetch(`http://127.0.0.1:${port + 1}/health/ready`);
        return ok ? 'ready' : undefined;
      }),
    );
    const app = start(run('start'), { PORT: '0' });
    let said = '';
    app.stdout?.on('data', (chunk) => {
      said += String(chunk);
    });
    const url = await step('the example is up', () =>
      until('example', async () => /http:\S+/.exec(said)?.[0]).catch((error) => {
        throw new Error(`${error.message}:\n${said}`);
      }),
    );
    const body = JSON.stringify(
      url.includes('reviews') ? { text: 'Bright', votes: 7 } : { name: 'Lamp', stock: 7 },
    );
    const put = (await (await fetch(url, { method: 'PUT', body })).json()) as { cache?: string };
    if (put.cache !== 'updated') problem(`PUT ${url}: ${JSON.stringify(put)}`);
    const got = (await (await fetch(url)).json()) as { from?: string };
    if (got.from !== 'cache') problem(`GET ${url}: ${JSON.stringify(got)}`);
    await user(`${manager.local} lockstep status`);
    await user(`${manager.local} lockstep verify`);
    const again = await user(`${manager.local} lockstep --json init ${choices}`);
    const { files } = JSON.parse(again.slice(again.indexOf('{'), again.lastIndexOf('}') + 1)) as {
      readonly files: readonly { readonly path: string; readonly written: boolean }[];
    };
    for (const file of files) if (file.written) problem(`a second run wrote ${file.path}`);
    if (readFileSync(join(project, 'package.json'), 'utf8') !== text) problem('package.json has changed');
  } finally {
    for (const child of children) await ended(child);
    if (runsCompose) await user('docker compose -f compose.lockstep.yaml down --volumes');
  }
}

async function tryAll(names: readonly string[], given: Omit<Trial, 'name'>): Promise<void> {
  const folder = temporaryFolder('init');
  const packages = await packAll(folder);
  const registry = await startRegistry(folder);
  try {
    const others = (await must('npm', ['config', 'get', 'registry'])).trim();
    const npmrc = join(folder, 'npmrc');
    writeFileSync(npmrc, `${registry.authority}:_authToken=${registry.token}\n`);
    for (const { tarball } of packages) {
      await must('npm', ['publish', '--userconfig', npmrc, '--registry', registry.url, tarball]);
    }
    for (const name of names) await tryInit({ ...given, name }, folder, registry, others);
  } finally {
    await registry.stop();
  }
  conclude('set up from nothing: test, migration, worker and example run');
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    docker: { type: 'boolean', default: false },
    project: { type: 'string', default: 'new' },
    queue: { type: 'string', default: 'bullmq' },
    store: { type: 'string', default: 'postgres' },
  },
});
const built = await build();
if (built === 0) await tryAll(positionals.length === 0 ? ['npm'] : positionals, values);
else process.exitCode = built;
