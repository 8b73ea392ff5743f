import { CacheUnavailableError } from '@lockstep/core';

/** The errors of a server that answers reads and takes no writes at all. */
const REFUSES_WRITES = /(?:^|[ :-])(READONLY|MISCONF|NOREPLICAS)\b/;
/** The errors of a server that serves nobody now, or not this client, or not this key's slot. */
const SERVES_NOTHING =
  /^(LOADING|MASTERDOWN|CLUSTERDOWN|NOAUTH|WRONGPASS|BUSY|UNKILLABLE|MOVED|ASK|TRYAGAIN)\b/;

/** What a node of a Cluster says to a client that takes it for a server of its own. */
const OF_A_CLUSTER = /^MOVED\b/;

/**
 * The error as the contract has it: `CacheUnavailableError` where the server is away or takes no writes; else
 * the command's own. A script's errors carry what the server said inside a message of their own.
 */
export function refusalOf(error: Error): Error {
  if (error instanceof CacheUnavailableError) return error;
  const { message } = error;
  if (REFUSES_WRITES.test(message))
    return new CacheUnavailableError(message, { cause: error, refuses: true });
  if (isReply(error) && !SERVES_NOTHING.test(message)) return error;
  const hint = OF_A_CLUSTER.test(message)
    ? ' (a node of a Redis Cluster? redisCache({ cluster: { nodes } }))'
    : '';
  return new CacheUnavailableError(message + hint, { cause: error });
}

/** True for an error that the server sent. Not `instanceof`: a client may come from another copy of ioredis. */
export function isReply(error: unknown): error is Error {
  return error instanceof Error && error.name === 'ReplyError';
}

/**
 * The answer of a failed GET: nothing where there is no text, which is no entry (MGET says so by itself); the
 * server's refusal in the key's place. Throws any other error.
 */
export function answerOf(error: unknown): undefined | Error {
  if (!isReply(error)) throw error;
  return error.message.startsWith('WRONGTYPE') ? undefined : refusalOf(error);
}
