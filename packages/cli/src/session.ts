import { type CollectionInfo, type Lockstep, messageOf } from '@lockstep/core';
import { Deadline } from '@lockstep/core/kit';
import { collectionOf } from '@lockstep/worker/inspect';
import type { Command } from 'commander';
import { type Output, output } from './output.js';

/** The flags of every command. */
export interface CommonFlags {
  readonly config?: string;
  readonly json?: boolean;
  readonly timeout: number;
}

export const OK = 0;
/** Something is wrong with what was looked at. */
export const FOUND = 1;
/** The command could not be carried out: a wrong flag, a file, a server. */
export const FAILED = 2;
/** How long servers may take to answer, unless the flag says so. */
export const TIMEOUT_MS = 5_000;

/** The fact by which a command tells other processes what it is. */
export const TOOL = 'command';

/** What did not answer in time. */
export class NoAnswerError extends Error {}

/** The promise, or a rejection that names what did not answer in time. */
export type Ask = <T>(what: string, asked: PromiseLike<T>) => Promise<T>;

export interface Session extends Output {
  readonly lockstep: Lockstep;
  /** How long servers may take to answer, in ms. */
  readonly timeoutMs: number;
  /** For what a command asks at its start, side by side: all of it shares one time. */
  readonly ask: Ask;
}

/** How long a configuration's own function may take: it may read secrets, and load drivers. */
const CONFIG_MS = 30_000;
/** How long the ends of a session may take together, */
const CLOSE_MS = 3_000;
/** and where a server has not answered: it will not answer now. */
const CLOSE_SILENT_MS = 250;

/**
 * Runs a command on the Lockstep of the configuration and closes it afterwards. `work` gives the exit code. What is
 * thrown becomes one line on standard error.
 */
export async function withSession(
  command: Command,
  work: (session: Session) => Promise<number>,
): Promise<void> {
  const { config: path, json = false, timeout: timeoutMs } = command.optsWithGlobals<CommonFlags>();
  // It brings every driver, which --help and init can do without.
  const { loadConfig, lockstepOf } = await import('@lockstep/worker');
  const config = await loadConfig(path);
  const lockstep = await askWithin(CONFIG_MS)('the lockstep of the configuration', lockstepOf(config));
  // Others see it among the processes where it takes longer than a moment.
  lockstep.fleet.describe(TOOL, () => command.name());
  // A server that is away is told once, by whoever asked it.
  lockstep.events.on('error', () => undefined);
  const stop = (): never => process.exit(130);
  process.once('SIGINT', stop);
  try {
    process.exitCode = await work({ lockstep, timeoutMs, ask: askWithin(timeoutMs), ...output(json) });
  } finally {
    process.off('SIGINT', stop);
    await ended(async () => {
      await lockstep.close();
      await config.close?.();
    });
  }
}

/** True once something did not answer in time: what still waits for it would keep the process alive. */
let isSilent = false;

async function ended(close: () => Promise<void>): Promise<void> {
  const timeoutMs = isSilent ? CLOSE_SILENT_MS : CLOSE_MS;
  const late = (): Error => new Error(`not within ${timeoutMs} ms`);
  const deadline = new Deadline({ timeoutMs, late, keepsAlive: true });
  // What does not answer was told by the command.
  await deadline.bound(close()).catch(() => {
    isSilent = true;
  });
}

/** Ends the process where a server's silence would not let it end, once everything is written. */
export async function exitIfSilent(): Promise<void> {
  if (!isSilent) return;
  await new Promise((resolve) => process.stdout.write('', resolve));
  process.exit(process.exitCode ?? FAILED);
}

/**
 * Opens the collections, and the cache where the command can do nothing without it. All are asked side by side, and all that
 * is wrong is told: which collection it is, and of which store, since a driver's own words name neither.
 */
export async function opened(
  { ask, lockstep }: Session,
  collections: readonly CollectionInfo[],
  { withCache = false }: { readonly withCache?: boolean } = {},
): Promise<void> {
  const asked = collections.map(async ({ name, open, store }) => {
    const at = `${name}, ${store.name}`;
    await ask(at, open()).catch((error: unknown) => {
      const missing = [name, store.name].filter((part) => !messageOf(error).includes(part)).join(', ');
      if (missing === '' || !(error instanceof Error)) throw error;
      error.message = `${missing}: ${error.message}`;
      throw error;
    });
  });
  if (withCache) asked.push(ask(`cache ${lockstep.cache.name}`, opening(lockstep)));
  const errors = (await Promise.allSettled(asked)).flatMap((each) =>
    each.status === 'rejected' ? [each.reason as unknown] : [],
  );
  if (errors.length > 1) throw new AggregateError(errors, [...new Set(errors.map(messageOf))].join('; '));
  if (errors.length > 0) throw errors[0];
}

/** An adapter without it connects at the first question. */
export async function opening({ cache }: Lockstep): Promise<void> {
  await cache.open?.();
}

/** The collections of these names; all of them where none is named. */
export function collectionsOf(lockstep: Lockstep, names: readonly string[]): readonly CollectionInfo[] {
  return names.length === 0 ? lockstep.collections : names.map((name) => collectionOf(lockstep, name));
}

/** A function for questions that share a time from now on. */
export function askWithin(timeoutMs: number): Ask {
  const late = (what: string): Error => {
    isSilent = true;
    return new NoAnswerError(`${what}: no answer within ${timeoutMs} ms`);
  };
  const deadline = new Deadline({ timeoutMs, late: () => late('all'), keepsAlive: true });
  return (what, asked) => deadline.narrowed(timeoutMs, () => late(what)).bound(asked);
}

/** As a session's `ask`, with all of the time from now: for a command that goes on. */
export function bounded<T>({ timeoutMs }: Session, what: string, asked: PromiseLike<T>): Promise<T> {
  return askWithin(timeoutMs)(what, asked);
}
