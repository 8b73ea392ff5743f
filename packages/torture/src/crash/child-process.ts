import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Recorder } from './recorder.js';
import type { ChildSettings } from './settings.js';

const ENTRY = fileURLToPath(new URL('./child/main.js', import.meta.url));

/** A process of the run. It ends with this one: its standard input closes. */
export class Child {
  /** Resolves when it can start at once. Never rejects. */
  readonly ready: Promise<void>;
  /** Resolves when it is gone and everything that it had told is here. */
  readonly ended: Promise<void>;
  readonly #child: ChildProcess;
  #gone = false;

  constructor(settings: ChildSettings, recorder: Recorder) {
    this.#child = spawn(process.execPath, [ENTRY, JSON.stringify(settings)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ready = promise;
    const listen = recorder.listen(resolve);
    this.#child.stdout?.setEncoding('utf8').on('data', listen);
    this.#child.stdin?.on('error', () => undefined);
    this.ended = new Promise((end) => {
      const over = (): void => {
        this.#gone = true;
        resolve();
        end();
      };
      this.#child.on('close', over);
      this.#child.on('error', over);
    });
  }

  get gone(): boolean {
    return this.#gone;
  }

  go(): void {
    this.#child.stdin?.write('go\n');
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  /** Ends it in order, or after `ms` by force. Resolves with whether it ended by itself. */
  async stop(ms: number): Promise<boolean> {
    this.#child.stdin?.write('stop\n');
    let forced = false;
    const timer = setTimeout(() => {
      forced = true;
      this.kill();
    }, ms);
    await this.ended;
    clearTimeout(timer);
    return !forced;
  }
}
