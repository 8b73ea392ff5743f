import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** What a process of a run is, and who hears what it tells. */
export interface ChildOptions {
  /** The program, beside the one that starts it. */
  readonly entry: URL;
  /** Travels as JSON. */
  readonly settings: object;
  /** Given what to call when the process says that it is ready; returns what takes its lines, in chunks of any size. */
  readonly listen: (ready: () => void) => (chunk: string) => void;
}

/** A process of a run. It ends with this one: its standard input closes. */
export class Child {
  /** Resolves when it can start at once. Never rejects. */
  readonly ready: Promise<void>;
  /** Resolves when it is gone and everything that it had told is here. */
  readonly ended: Promise<void>;
  readonly #child: ChildProcess;

  constructor({ entry, listen, settings }: ChildOptions) {
    this.#child = spawn(process.execPath, [fileURLToPath(entry), JSON.stringify(settings)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ready = promise;
    this.#child.stdout?.setEncoding('utf8').on('data', listen(resolve));
    this.#child.stdin?.on('error', () => undefined);
    this.ended = new Promise((end) => {
      const over = (): void => {
        resolve();
        end();
      };
      this.#child.on('close', over);
      this.#child.on('error', over);
    });
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
