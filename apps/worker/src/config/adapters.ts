import { InvalidOptionError, messageOf } from '@lockstep/core';

/** What goes with each adapter: its driver. A project installs those that it uses, and no others. */
const DRIVERS: Readonly<Record<string, readonly string[]>> = {
  '@lockstep/store-postgres': ['knex', 'pg'],
  '@lockstep/store-mongo': ['mongodb'],
  '@lockstep/cache-redis': ['ioredis'],
  '@lockstep/queue-bullmq': ['bullmq', 'ioredis'],
  '@bull-board/api': ['@bull-board/ui'],
};

/**
 * The command that installs what an import did not find, with what goes with it; `undefined`: something else is wrong.
 * Knex looks for its driver later than Node.js does, and says so in words of its own.
 */
export function installationOf(error: unknown): string | undefined {
  const message = messageOf(error);
  const [, found] =
    /Cannot find (?:package|module) '((?:@[\w.-]+\/)?[\w-][\w.-]*)[^']*'/.exec(message) ??
    /npm install (pg)\b/.exec(message) ??
    [];
  if (found === undefined) return undefined;
  const adapter = Object.keys(DRIVERS).find((name) => name === found || DRIVERS[name]?.includes(found));
  const names = adapter === undefined ? [found] : [adapter, ...(DRIVERS[adapter] ?? [])];
  return `${found} is not installed: npm install ${names.join(' ')}`;
}

/** What `use` makes of an adapter that it imports. Rejects with `InvalidOptionError`, by the option that asks for it, where it is not installed. */
export async function withAdapter<Made>(option: string, use: () => Promise<Made>): Promise<Made> {
  try {
    return await use();
  } catch (error) {
    const installation = installationOf(error);
    if (installation === undefined) throw error;
    throw new InvalidOptionError(option, `asks for what is missing: ${installation}`, { cause: error });
  }
}
