import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { until } from './until.js';

export const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));

export interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly url?: string;
  readonly metricsUrl?: string;
}

/** The built `lockstep-worker`, as a process. */
export interface CliProcess extends AsyncDisposable {
  readonly child: ChildProcess;
  readonly output: { out: string; err: string };
  /** Whole lines of standard output, parsed. */
  lines(): LogLine[];
  /** Waits until it listens, and tells where the dashboard is. */
  url(): Promise<string>;
  /** The same of probes and metrics. */
  metricsUrl(): Promise<string>;
  /** Resolves when it has ended: its exit code, or `null` after a signal. */
  readonly ended: Promise<number | null>;
}

export type Variables = Readonly<Record<string, string>>;

export function startCli(args: readonly string[], variables: Variables = {}): CliProcess {
  // Nothing of this process's own configuration reaches it.
  const env = { PATH: process.env['PATH'], HOME: process.env['HOME'], ...variables };
  const child = spawn(process.execPath, [CLI, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const output = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output.out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output.err += text;
  });
  const ended = once(child, 'close').then(([code]) => code as number | null);
  const lines = (): LogLine[] =>
    output.out
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as LogLine);
  const started = (): LogLine | undefined => lines().find(({ msg }) => msg === 'worker started');
  const listening = async (): Promise<LogLine> => {
    await until('the worker listens', () => {
      if (child.exitCode !== null) throw new Error(`it ended: ${output.err}${output.out}`);
      return started() !== undefined;
    });
    return started() as LogLine;
  };
  return {
    child,
    output,
    lines,
    ended,
    url: async () => (await listening()).url ?? '',
    metricsUrl: async () => (await listening()).metricsUrl ?? '',
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** Runs it to its end. */
export async function runCli(args: readonly string[], variables: Variables = {}) {
  await using cli = startCli(args, variables);
  const code = await cli.ended;
  return { code, ...cli.output };
}
