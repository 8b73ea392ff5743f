import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';
import { watchCallers } from './ancestors.ts';
import { ROOT } from './repository.ts';

const LIFELINE = join(import.meta.dirname, 'lifeline.ts');
const children = new Set<() => void>();
let interrupted: NodeJS.Signals | undefined;
let watching = false;

function interrupt(signal: NodeJS.Signals): void {
  if (interrupted !== undefined) return;
  interrupted = signal;
  for (const end of children) end();
}

function watch(): void {
  if (watching) return;
  watching = true;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => interrupt(signal));
  watchCallers(() => interrupt('SIGTERM'));
}

export interface RunOptions {
  /** @defaultValue the repository */
  readonly cwd?: string;
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** `ignore`: what it prints is dropped; a number: the descriptor of the file that gets it. @defaultValue 'inherit' */
  readonly output?: 'inherit' | 'ignore' | number;
}

/**
 * Runs a command to its end and resolves to its exit code. When this script is interrupted the command is
 * told to end and waited for, and then the script ends as a process does that the signal killed.
 */
export async function run(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<number> {
  watch();
  const { cwd = ROOT, env = {}, output = 'inherit' } = options;
  const child = spawn(process.execPath, [LIFELINE, command, ...args], {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', output, output, 'ipc'],
    detached: true,
  });
  const end = (): void => {
    if (child.connected) child.disconnect();
  };
  children.add(end);
  if (interrupted !== undefined) end();
  const code = await new Promise<number>((resolve) => {
    child.once('error', () => resolve(127));
    child.once('exit', (status, signal) =>
      resolve(status ?? 128 + (signal === null ? 0 : constants.signals[signal])),
    );
  });
  children.delete(end);
  if (interrupted !== undefined) process.exit(128 + constants.signals[interrupted]);
  return code;
}
