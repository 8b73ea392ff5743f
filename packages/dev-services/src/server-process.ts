import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { DevServicesError, messageOf } from './errors.js';
import type { TemporaryFolder } from './folders.js';
import { freePort, LOOPBACK } from './ports.js';
import { type SupervisedServer, supervisor } from './supervisor/client.js';
import { signalTree } from './supervisor/process-tree.js';
import type { OwnedProcess, RestartOptions } from './types.js';

/** How a server is started, and how one sees that it answers. */
export interface ServerSpec {
  /** For messages, such as `Redis`. */
  readonly name: string;
  readonly command: string;
  readonly folder: TemporaryFolder;
  args(server: { readonly port: number; readonly data: string }): readonly string[];
  /** Fills the data folder, before the first start and after each restart without data. */
  prepare?(data: string): Promise<void>;
  /** Resolves when the server of this process id answers; rejects while it does not yet. */
  ready(server: { readonly port: number; readonly data: string; readonly pid: number }): Promise<void>;
  /** Ends a running server so that it keeps its data; by default the stop signal. */
  shutdown?(server: { readonly port: number; readonly pid: number }): Promise<void>;
  readonly user?: { readonly uid: number; readonly gid: number } | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** @defaultValue SIGTERM */
  readonly stopSignal?: NodeJS.Signals | undefined;
  readonly startTimeoutMs: number;
}

const PORT_ATTEMPTS = 5;
const LOG_TAIL_BYTES = 4_000;
const PORT_TAKEN = /address already in use|could not bind|unable to bind|failed listening/i;

/** How long a stopped process's threads may take to stand still, in ms: those on another processor run on for a moment. */
const STOP_MS = 1_000;

/** True when all threads of a process stand still, and where there is no `/proc` to tell. */
function isStopped(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/task`).every((thread) => {
      const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'latin1');
      return stat[stat.lastIndexOf(')') + 2] === 'T';
    });
  } catch {
    return true;
  }
}

/** A server on a port of its own, with its data in `{folder}/data` and its log in `{folder}/server.log`. */
export class ServerProcess implements OwnedProcess {
  readonly host = LOOPBACK;
  readonly #spec: ServerSpec;
  readonly #data: string;
  readonly #log: string;
  #port = 0;
  #server: SupervisedServer | undefined;
  #stopped = false;

  private constructor(spec: ServerSpec) {
    this.#spec = spec;
    this.#data = join(spec.folder.path, 'data');
    this.#log = join(spec.folder.path, 'server.log');
  }

  /** Rejects with the server's log when it does not answer in time; nothing is left behind then. */
  static async start(spec: ServerSpec): Promise<ServerProcess> {
    const server = new ServerProcess(spec);
    try {
      await server.#prepare();
      for (let attempt = 1; ; attempt += 1) {
        server.#port = await freePort();
        try {
          await server.#launch();
          return server;
        } catch (error) {
          if (attempt >= PORT_ATTEMPTS || !PORT_TAKEN.test(messageOf(error))) throw error;
          // The old log would let every later failure look like a taken port.
          await rm(server.#log, { force: true });
        }
      }
    } catch (error) {
      await server.stop();
      throw error;
    }
  }

  get pid(): number {
    return this.#server?.pid ?? 0;
  }

  get port(): number {
    return this.#port;
  }

  get running(): boolean {
    return this.#server?.running ?? false;
  }

  freeze(): void {
    if (!this.running) return;
    signalTree(this.pid, 'SIGSTOP');
    const until = performance.now() + STOP_MS;
    while (!isStopped(this.pid) && performance.now() < until);
  }

  thaw(): void {
    if (this.running) signalTree(this.pid, 'SIGCONT');
  }

  async kill(): Promise<void> {
    if (!this.running) return;
    signalTree(this.pid, 'SIGKILL');
    await supervisor().end(this.pid, 'SIGKILL');
  }

  async restart(options: RestartOptions = {}): Promise<void> {
    if (this.#stopped) {
      throw new DevServicesError(
        'DEV_SERVICES_NOT_OWNED',
        `${this.#spec.name} was stopped for good; start a new one`,
      );
    }
    await this.#shutdown();
    if (options.keepData === false) {
      await supervisor().clean({ kind: 'folder', path: this.#data });
      await this.#prepare();
    }
    await rm(this.#log, { force: true });
    await this.#launch();
  }

  /** Ends the server for good and removes its folder. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    if (this.running) await supervisor().end(this.pid, this.#spec.stopSignal ?? 'SIGTERM');
    await this.#spec.folder.remove();
  }

  async #shutdown(): Promise<void> {
    if (!this.running) return;
    this.thaw();
    await this.#spec.shutdown?.({ port: this.#port, pid: this.pid });
    await supervisor().end(this.pid, this.#spec.shutdown === undefined ? 'SIGTERM' : undefined);
  }

  async #prepare(): Promise<void> {
    const { user } = this.#spec;
    await mkdir(this.#data, { mode: 0o700 });
    if (user !== undefined) {
      const folder = await open(this.#data);
      try {
        await folder.chown(user.uid, user.gid);
      } finally {
        await folder.close();
      }
    }
    await this.#spec.prepare?.(this.#data);
  }

  async #launch(): Promise<void> {
    const { user, command, stopSignal = 'SIGTERM', env = {} } = this.#spec;
    const server = await supervisor().spawn({
      command,
      args: [...this.#spec.args({ port: this.#port, data: this.#data })],
      cwd: this.#data,
      env: { PATH: process.env['PATH'] ?? '', LC_ALL: 'C', TZ: 'UTC', ...env },
      logFile: this.#log,
      stopSignal,
      uid: user?.uid,
      gid: user?.gid,
    });
    this.#server = server;
    const deadline = performance.now() + this.#spec.startTimeoutMs;
    let last: unknown;
    for (;;) {
      if (!server.running) throw await this.#failure('ended while it started');
      if (performance.now() > deadline) {
        await supervisor().end(server.pid, 'SIGKILL');
        const reason = `did not answer within ${this.#spec.startTimeoutMs} ms`;
        throw await this.#failure(last === undefined ? reason : `${reason} (${messageOf(last)})`);
      }
      try {
        await this.#spec.ready({ port: this.#port, data: this.#data, pid: server.pid });
        return;
      } catch (error) {
        last = error;
      }
      await Promise.race([server.exited, delay(15)]);
    }
  }

  async #failure(what: string): Promise<DevServicesError> {
    const log = await this.#logTail();
    return new DevServicesError(
      'DEV_SERVICES_START_FAILED',
      `${this.#spec.name} (${this.#spec.command}) ${what}. Its log ends:\n${log}`,
    );
  }

  async #logTail(): Promise<string> {
    try {
      const file = await open(this.#log);
      try {
        const { size } = await file.stat();
        const length = Math.min(size, LOG_TAIL_BYTES);
        const { buffer } = await file.read(Buffer.alloc(length), 0, length, size - length);
        return buffer.toString('utf8');
      } finally {
        await file.close();
      }
    } catch (error) {
      return `(no log: ${messageOf(error)})`;
    }
  }
}
