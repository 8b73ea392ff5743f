import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { DevServicesError } from '../errors.js';
import { clean } from './cleanup.js';
import { signalTree } from './process-tree.js';
import type { Cleanup, SpawnSpec, SupervisorMessage, SupervisorRequest } from './protocol.js';

// Always the built file: it is run by plain Node, also when this one is run from its source.
const MAIN = fileURLToPath(new URL('../../dist/supervisor/main.js', import.meta.url));

/** Longer than the supervisor's own grace for a server that does not want to end. */
const REQUEST_TIMEOUT_MS = 30_000;

type Body<R> = R extends SupervisorRequest ? Omit<R, 'request'> : never;

interface Pending {
  readonly resolve: (pid: number) => void;
  readonly reject: (error: Error) => void;
}

/** A server as its owner sees it. */
export interface SupervisedServer {
  readonly pid: number;
  /** Resolves, never rejects, when the server is gone. */
  readonly exited: Promise<void>;
  readonly running: boolean;
}

/** One supervisor per owner process, started with the first server. */
class SupervisorClient {
  readonly #child: ChildProcess;
  readonly #pending = new Map<number, Pending>();
  readonly #servers = new Map<number, () => void>();
  readonly #folders = new Set<string>();
  #requests = 0;
  gone = false;

  constructor() {
    this.#child = spawn(process.execPath, [MAIN], {
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      // A session of its own: Ctrl-C reaches the owner only, and the supervisor outlives it to clean up.
      detached: true,
      // The owner's NODE_OPTIONS (inspectors, loaders) and the like are no business of the supervisor's.
      env: { PATH: process.env['PATH'], HOME: process.env['HOME'], TMPDIR: process.env['TMPDIR'] },
    });
    this.#child.on('message', (message: SupervisorMessage) => this.#receive(message));
    this.#child.once('error', () => this.#lost());
    this.#child.once('exit', () => this.#lost());
    this.#rest();
  }

  async spawn(spec: SpawnSpec): Promise<SupervisedServer> {
    let running = true;
    const { promise: exited, resolve } = Promise.withResolvers<void>();
    const pid = await this.#ask({ type: 'spawn', spawn: spec }, (started) => {
      this.#servers.set(started, () => {
        running = false;
        resolve();
      });
    });
    return {
      pid,
      exited,
      get running() {
        return running;
      },
    };
  }

  /** Resolves when the process is gone; without a signal it is only awaited, and killed when it stays. */
  async end(pid: number, signal?: NodeJS.Signals): Promise<void> {
    await this.#ask({ type: 'end', pid, signal });
  }

  async keep(cleanup: Cleanup): Promise<void> {
    if (cleanup.kind === 'folder') this.#folders.add(cleanup.path);
    await this.#ask({ type: 'keep', cleanup });
  }

  async clean(cleanup: Cleanup): Promise<void> {
    await this.#ask({ type: 'clean', cleanup });
    if (cleanup.kind === 'folder') this.#folders.delete(cleanup.path);
  }

  async #ask(body: Body<SupervisorRequest>, onDone?: (pid: number) => void): Promise<number> {
    if (this.gone)
      throw new DevServicesError('DEV_SERVICES_SUPERVISOR', 'The supervisor of the servers is gone');
    this.#requests += 1;
    const request = this.#requests;
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const timer = setTimeout(() => {
      reject(
        new DevServicesError('DEV_SERVICES_TIMEOUT', `The supervisor did not answer '${body.type}' in time`),
      );
    }, REQUEST_TIMEOUT_MS);
    this.#pending.set(request, {
      resolve: (pid) => {
        onDone?.(pid);
        resolve(pid);
      },
      reject,
    });
    this.#child.channel?.ref();
    this.#child.ref();
    try {
      this.#child.send({ ...body, request }, (error) => {
        if (error !== null) reject(error);
      });
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#pending.delete(request);
      if (this.#pending.size === 0) this.#rest();
    }
  }

  /** Servers alone must not keep their owner alive: it ends when it has nothing else to do. */
  #rest(): void {
    this.#child.channel?.unref();
    this.#child.unref();
  }

  #receive(message: SupervisorMessage): void {
    if (message.type === 'exited') {
      this.#servers.get(message.pid)?.();
      this.#servers.delete(message.pid);
      return;
    }
    const pending = this.#pending.get(message.request);
    if (message.type === 'done') pending?.resolve(message.pid);
    else pending?.reject(new DevServicesError('DEV_SERVICES_SUPERVISOR', message.message));
  }

  /** Somebody killed the supervisor: its servers must not outlive it. */
  #lost(): void {
    if (this.gone) return;
    this.gone = true;
    for (const [pid, exited] of this.#servers) {
      signalTree(pid, 'SIGKILL');
      exited();
    }
    this.#servers.clear();
    for (const path of this.#folders) void clean({ kind: 'folder', path }).catch(() => undefined);
    const error = new DevServicesError('DEV_SERVICES_SUPERVISOR', 'The supervisor of the servers was killed');
    for (const pending of this.#pending.values()) pending.reject(error);
  }
}

let current: SupervisorClient | undefined;

/** The supervisor of this process; a new one when the last was killed. */
export function supervisor(): SupervisorClient {
  if (current === undefined || current.gone) current = new SupervisorClient();
  return current;
}
