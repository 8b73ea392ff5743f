import { spawn } from 'node:child_process';
import { InvalidOptionError } from '@lockstep/core';
import { type Agent, resolveCommand } from 'package-manager-detector';
import type { Project } from './project.js';

/** Longer than any registry that answers needs. */
const INSTALL_MS = 600_000;

/** What installs the project's packages, as its words. */
export function installCommand({ agent }: Pick<Project, 'agent'>): readonly string[] {
  const resolved = resolveCommand(agent as Agent, 'install', []);
  if (resolved === null) throw new InvalidOptionError('--package-manager', `${agent} can't install`);
  return [resolved.command, ...resolved.args];
}

/** What runs a script of package.json, as a person types it. */
export function scriptCommand({ manager }: Pick<Project, 'manager'>, name: string): string {
  return manager === 'npm' && name !== 'test' && name !== 'start'
    ? `npm run ${name}`
    : `${manager} run ${name}`;
}

const TOOL: Readonly<Record<Project['manager'], string>> = {
  npm: 'npx',
  pnpm: 'pnpm exec',
  // `yarn exec` of its first version takes a command's flags for its own.
  yarn: 'yarn run',
  bun: 'bun x',
};

/** What runs `lockstep` in the project, as a person types it. */
export function toolCommand({ manager }: Pick<Project, 'manager'>, words: string): string {
  return `${TOOL[manager]} lockstep ${words}`;
}

/** Runs the package manager, which says on standard error what it does. Rejects with one line. */
export async function install(project: Project): Promise<void> {
  const [command = '', ...args] = installCommand(project);
  // Its `.cmd` needs a shell on Windows; there is nothing of the user's in the arguments.
  const child = spawn(command, args, {
    cwd: project.folder,
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32',
    timeout: INSTALL_MS,
  });
  const said = await new Promise<string | undefined>((resolve) => {
    child.once('error', ({ message }) => resolve(message));
    child.once('exit', (code, signal) =>
      resolve(code === 0 ? undefined : signal === null ? `exit code ${code}` : `ended by ${signal}`),
    );
  });
  if (said === undefined) return;
  throw new Error(
    `${[command, ...args].join(' ')}: ${said}; all files are written: run it again, or lockstep init`,
  );
}
