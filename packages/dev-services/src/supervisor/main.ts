/**
 * The supervisor: a process of its own, the parent of all servers of one owner. The channel to the owner
 * closes however the owner ends, `kill -9` included; then it ends the servers, removes their folders and goes.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { clean, cleanupKey } from './cleanup.js';
import { signalTree } from './process-tree.js';
import type { Cleanup, SpawnSpec, SupervisorMessage, SupervisorRequest } from './protocol.js';

/** How long a server may take over an orderly end before it is killed. */
const GRACE_MS = 8_000;

interface Server {
  readonly child: ChildProcess;
  readonly stopSignal: NodeJS.Signals;
  readonly exited: Promise<void>;
}

const servers = new Map<number, Server>();
const cleanups = new Map<string, Cleanup>();
let ending = false;

function tell(message: SupervisorMessage): void {
  // The owner may be gone; nobody then waits for the message.
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
}

function start(spec: SpawnSpec): Promise<number> {
  const log = openSync(spec.logFile, 'a');
  const child = spawn(spec.command, spec.args, {
    cwd: spec.cwd,
    env: { ...spec.env },
    stdio: ['ignore', log, log],
    // Out of reach of signals that a terminal sends to the supervisor's group.
    detached: true,
    ...(spec.uid === undefined ? {} : { uid: spec.uid }),
    ...(spec.gid === undefined ? {} : { gid: spec.gid }),
  });
  closeSync(log);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('spawn', () => {
      const { pid } = child;
      if (pid === undefined) return reject(new Error(`${spec.command} has no process id`));
      const exited = new Promise<void>((done) => {
        child.once('exit', (code, signal) => {
          servers.delete(pid);
          tell({ type: 'exited', pid, code, signal });
          done();
        });
      });
      servers.set(pid, { child, stopSignal: spec.stopSignal, exited });
      resolve(pid);
    });
  });
}

async function end(pid: number, signal?: NodeJS.Signals): Promise<void> {
  const server = servers.get(pid);
  if (server === undefined) return;
  // A frozen process obeys nothing but SIGKILL and SIGCONT.
  signalTree(pid, 'SIGCONT');
  if (signal === 'SIGKILL') signalTree(pid, 'SIGKILL');
  else if (signal !== undefined) server.child.kill(signal);
  const timer = setTimeout(() => signalTree(pid, 'SIGKILL'), GRACE_MS);
  await server.exited;
  clearTimeout(timer);
}

async function endAll(): Promise<void> {
  if (ending) return;
  ending = true;
  await Promise.allSettled([...servers].map(([pid, server]) => end(pid, server.stopSignal)));
  await Promise.allSettled([...cleanups.values()].map(clean));
  process.exit(0);
}

async function handle(message: SupervisorRequest): Promise<number> {
  switch (message.type) {
    case 'spawn':
      if (ending) throw new Error('the supervisor is ending');
      return start(message.spawn);
    case 'end':
      await end(message.pid, message.signal);
      return 0;
    case 'keep':
      cleanups.set(cleanupKey(message.cleanup), message.cleanup);
      return 0;
    case 'clean':
      await clean(message.cleanup);
      cleanups.delete(cleanupKey(message.cleanup));
      return 0;
  }
}

process.on('message', (message: SupervisorRequest) => {
  handle(message).then(
    (pid) => tell({ type: 'done', request: message.request, pid }),
    (error: unknown) =>
      tell({
        type: 'failed',
        request: message.request,
        message: error instanceof Error ? error.message : String(error),
      }),
  );
});
process.on('disconnect', () => void endAll());
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => void endAll());
