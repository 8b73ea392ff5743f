import { type ChildProcess, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from '@lockstep/dev-services';
import type { FinalFigures } from '../../src/figures.js';
import type { Status } from '../../src/page-server/status.js';

const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The built demo as a process of its own; disposing it kills what is left of it. */
export class DemoProcess implements AsyncDisposable {
  readonly ended: Promise<Ended>;
  readonly #child: ChildProcess;
  #stdout = '';
  #stderr = '';

  constructor(argv: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.#child = spawn(process.execPath, [CLI, ...argv], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text;
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
    this.ended = new Promise((resolve) => {
      this.#child.on('close', (code) => resolve({ code, stdout: this.#stdout, stderr: this.#stderr }));
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** The page's address, once it is printed. */
  async url(): Promise<string> {
    const ended = this.ended.then(({ stderr }) => {
      throw new Error(`the demo ended: ${stderr}`);
    });
    const printed = until(() => /http:\/\/\S+/.exec(this.#stdout)?.[0], 60_000, 'the page’s address');
    return Promise.race([printed, ended]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 20_000);
    await this.ended;
    clearTimeout(timer);
  }
}

/** A run without a page, to its end, and what it wrote. */
export async function headless(
  argv: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<FinalFigures> {
  // One that goes with this process, however it ends.
  const folder = await temporaryFolder('demo');
  try {
    const file = join(folder.path, 'figures.json');
    await using demo = new DemoProcess(['--headless', '--json', file, ...argv], env);
    const { code, stderr } = await demo.ended;
    if (code !== 0) throw new Error(`the demo ended with ${code}: ${stderr}`);
    return JSON.parse(await readFile(file, 'utf8')) as FinalFigures;
  } finally {
    await folder.remove();
  }
}

export async function status(url: string): Promise<Status> {
  const response = await fetch(new URL('/status', url));
  return (await response.json()) as Status;
}

/** Asks again until there is an answer. */
export async function until<T>(
  ask: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs: number,
  what: string,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    if (performance.now() > deadline) throw new Error(`${what}: not in ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** True while a process is there and not a zombie. */
export async function alive(pid: number): Promise<boolean> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    return !/\) [ZX] /.test(stat);
  } catch {
    return false;
  }
}
