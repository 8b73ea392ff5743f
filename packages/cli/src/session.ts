import { type CollectionInfo, type Lockstep, messageOf } from '@lockstep/core';
import { Deadline } from '@lockstep/core/kit';
import { collectionOf } from '@lockstep/worker/inspect';
import type { Command } from 'commander';
import { type Output, output } from './output.js';

/** The flags of every command. */
export interface CommonFlags {
  readonly config?: string;
  readonly json?: boolean;
}

export const OK = 0;
/** Something is wrong with what was looked at. */
export const FOUND = 1;
/** The command could not be carried out: a wrong flag, a file, a server. */
export const FAILED = 2;
/** How long a question to a server may take. */
export const STORE_TIMEOUT_MS = 10_000;

/** The fact by which a command tells other processes what it is. */
export const TOOL = 'command';

export interface Session extends Output {
  readonly lockstep: Lockstep;
}

/** How long the ends of a session may take together. */
const CLOSE_MS = 3_000;

/**
 * Runs a command on the Lockstep of the configuration and closes it afterwards. `work` gives the exit code. What is
 * thrown becomes one line on standard error.
 */
export async function withSession(
  command: Command,
  work: (session: Session) => Promise<number>,
): Promise<void> {
  const { config: path, json = false } = command.optsWithGlobals<CommonFlags>();
  // It brings every driver, which --help and init can do without.
  const { loadConfig } = await import('@lockstep/worker');
  const config = await loadConfig(path);
  const lockstep = typeof config.lockstep === 'function' ? await config.lockstep() : config.lockstep;
  // Others see it among the processes where it takes longer than a moment.
  lockstep.fleet.describe(TOOL, () => command.name());
  // A server that is away is told once, by whoever asked it.
  lockstep.events.on('error', () => undefined);
  const stop = (): never => process.exit(130);
  process.once('SIGINT', stop);
  try {
    process.exitCode = await work({ lockstep, ...output(json) });
  } finally {
    process.off('SIGINT', stop);
    await ended(async () => {
      await lockstep.close();
      await config.close?.();
    });
  }
}

/** True once a session could not be ended: connections that nobody answers on would keep the process alive. */
let isStuck = false;

async function ended(close: () => Promise<void>): Promise<void> {
  const late = (): Error => new Error(`not within ${CLOSE_MS} ms`);
  const deadline = new Deadline({ timeoutMs: CLOSE_MS, late, keepsAlive: true });
  // What does not answer was told by the command.
  await deadline.bound(close()).catch(() => {
    isStuck = true;
  });
}

/** Ends the process where what it has opened would not let it end, once everything is written. */
export async function exitIfStuck(): Promise<void> {
  if (!isStuck) return;
  await new Promise((resolve) => process.stdout.write('', resolve));
  process.exit(process.exitCode ?? FAILED);
}

/** Opens the collection. What is wrong says which one it is, and of which store: a driver's own words name neither. */
export async function opened({ name, open, store }: CollectionInfo): Promise<void> {
  try {
    await open();
  } catch (error) {
    const at = [name, store.name].filter((part) => !messageOf(error).includes(part)).join(', ');
    if (at === '' || !(error instanceof Error)) throw error;
    error.message = `${at}: ${error.message}`;
    throw error;
  }
}

/** The collections of these names; all of them where none is named. */
export function collectionsOf(lockstep: Lockstep, names: readonly string[]): readonly CollectionInfo[] {
  return names.length === 0 ? lockstep.collections : names.map((name) => collectionOf(lockstep, name));
}

/** The promise, or a rejection that says what did not answer within the time of a question. */
export function bounded<T>(what: string, promise: Promise<T>, timeoutMs = STORE_TIMEOUT_MS): Promise<T> {
  const late = (): Error => new Error(`${what}: no answer within ${timeoutMs} ms`);
  return new Deadline({ timeoutMs, late, keepsAlive: true }).bound(promise);
}
