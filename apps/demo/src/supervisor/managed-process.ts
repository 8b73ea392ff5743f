import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type Calls, type Notices, Peer } from '../ipc.js';
import type { Nothing } from '../messages.js';

/** How long a child may take to stop before it is killed, in ms. */
const STOP_MS = 4_000;

/** A child process that ends with this one, and the calls and notices between the two. */
export class ManagedProcess<Asks extends Calls, Tells extends Notices, Hears extends Notices> {
  readonly peer: Peer<Asks, Tells, Nothing, Hears>;
  /** Resolves when the process is gone, with how it went. */
  readonly exited: Promise<string>;
  readonly #child: ChildProcess;
  #gone = false;

  /** `entry` is a file of this package, relative to its built sources, e.g. `../worker/main.js`. */
  constructor(entry: string) {
    this.#child = fork(fileURLToPath(new URL(entry, import.meta.url)), [], {
      serialization: 'advanced',
      // Standard output belongs to whoever started the demo; logs that go there are not for them.
      stdio: ['ignore', 'ignore', process.stderr, 'ipc'],
    });
    this.peer = new Peer(this.#child);
    this.exited = new Promise((resolve) => {
      this.#child.on('error', (error) => resolve(error.message));
      this.#child.on('exit', (code, signal) => {
        this.#gone = true;
        resolve(signal ?? `code ${code}`);
      });
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get running(): boolean {
    return !this.#gone;
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  /** Ends it in order through `stop`, or else by force. */
  async end(stop: () => Promise<unknown>): Promise<void> {
    if (this.#gone) return;
    const timer = setTimeout(() => this.kill(), STOP_MS);
    try {
      await stop().catch(() => undefined);
      if (this.#child.connected) this.#child.disconnect();
      await this.exited;
    } finally {
      clearTimeout(timer);
    }
  }
}
