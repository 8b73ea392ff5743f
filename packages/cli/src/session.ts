import { type CollectionInfo, InvalidOptionError, type Lockstep, messageOf } from '@lockstep/core';
import { loadConfig } from '@lockstep/worker';
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
/** How long a question to the store may take. */
export const STORE_TIMEOUT_MS = 10_000;

export interface Session extends Output {
  readonly lockstep: Lockstep;
}

/** How long the ends of a session may take together. */
const CLOSE_MS = 5_000;

/**
 * Runs a command on the Lockstep of the configuration and closes it afterwards. `work` gives the exit code. What is
 * thrown becomes one line on standard error.
 */
export async function withSession(
  command: Command,
  work: (session: Session) => Promise<number>,
): Promise<void> {
  const { config: path, json = false } = command.optsWithGlobals<CommonFlags>();
  const config = await loadConfig(path);
  const lockstep = typeof config.lockstep === 'function' ? await config.lockstep() : config.lockstep;
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

async function ended(close: () => Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, CLOSE_MS);
  });
  await Promise.race([close(), late]).catch((error: unknown) =>
    console.error(`closing: ${messageOf(error)}`),
  );
  clearTimeout(timer);
}

/** Throws `InvalidOptionError`, which names those that there are. */
export function collectionOf({ collections }: Lockstep, name: string): CollectionInfo {
  const found = collections.find((each) => each.name === name);
  if (found !== undefined) return found;
  const names = collections.map((each) => each.name).join(', ');
  throw new InvalidOptionError('collection', `there is no "${name}"; the configuration declares ${names}`);
}

/** The collections of these names; all of them where none is named. */
export function collectionsOf(lockstep: Lockstep, names: readonly string[]): readonly CollectionInfo[] {
  return names.length === 0 ? lockstep.collections : names.map((name) => collectionOf(lockstep, name));
}

/** The store's key of an id as a command line has it: JSON where it is a list or an object, else text or a number. */
export async function keyOf({ open, store }: CollectionInfo, text: string): Promise<string> {
  await open();
  if (/^[[{"]/.test(text)) return store.keyOf(JSON.parse(text) as never);
  try {
    return store.keyOf(text as never);
  } catch (error) {
    if (!/^-?\d{1,15}$/.test(text)) throw error;
    return store.keyOf(Number(text) as never);
  }
}
