import { cancel, isCancel, select } from '@clack/prompts';
import { InvalidOptionError } from '@lockstep/core';

export const STORES = ['postgres', 'mongo', 'both', 'memory'] as const;
export const CACHES = ['redis', 'memory'] as const;
export const QUEUES = ['bullmq', 'none'] as const;

/** What a project is set up with. */
export interface Choices {
  readonly store: (typeof STORES)[number];
  readonly cache: (typeof CACHES)[number];
  readonly queue: (typeof QUEUES)[number];
}

type Question = readonly { readonly value: string; readonly label: string; readonly hint: string }[];

const QUESTIONS: {
  readonly [Name in keyof Choices]: { readonly message: string; readonly options: Question };
} = {
  store: {
    message: 'Where are the rows?',
    options: [
      { value: 'postgres', label: 'Postgres', hint: 'through knex' },
      { value: 'mongo', label: 'MongoDB', hint: 'a replica set' },
      { value: 'both', label: 'Postgres and MongoDB', hint: '' },
      { value: 'memory', label: 'In memory', hint: 'to look around: nothing is kept' },
    ],
  },
  cache: {
    message: 'Where is the cache?',
    options: [
      { value: 'redis', label: 'Redis or Valkey', hint: 'shared by all processes' },
      { value: 'memory', label: 'In memory', hint: 'one process only' },
    ],
  },
  queue: {
    message: 'Where do invalidations wait that the cache did not take?',
    options: [
      { value: 'bullmq', label: 'BullMQ', hint: 'in a Redis of its own' },
      { value: 'none', label: 'In the change feed', hint: 'no queue' },
    ],
  },
};

/**
 * Asks for what no flag says. `defaults`: take the usual answers instead; without a terminal nobody can be asked, and
 * they are needed. `undefined`: the user gave up. Throws `InvalidOptionError`.
 */
export async function choicesOf(given: Partial<Choices>, defaults: boolean): Promise<Choices | undefined> {
  if (given.cache === 'memory' && given.queue === 'bullmq') {
    throw new InvalidOptionError('--queue', 'bullmq is for a cache in Redis');
  }
  const store = given.store ?? (await answer('store', defaults));
  if (store === undefined) return undefined;
  const inMemory = store === 'memory';
  const cache = given.cache ?? (inMemory ? 'memory' : await answer('cache', defaults));
  if (cache === undefined) return undefined;
  const queue = given.queue ?? (cache === 'memory' ? 'none' : await answer('queue', defaults));
  return queue && { store, cache, queue };
}

async function answer<Name extends keyof Choices>(
  name: Name,
  defaults: boolean,
): Promise<Choices[Name] | undefined> {
  const { message, options } = QUESTIONS[name];
  if (defaults) return options[0]?.value as Choices[Name];
  if (!process.stdin.isTTY) {
    throw new InvalidOptionError(`--${name}`, 'is needed where there is no terminal to ask (or --yes)');
  }
  const chosen = await select({ message, options: [...options] });
  if (!isCancel(chosen)) return chosen as Choices[Name];
  cancel('Nothing was written.');
  return undefined;
}
