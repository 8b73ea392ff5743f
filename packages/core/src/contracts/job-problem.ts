import { MAX_KEY_LENGTH } from '../protocol/key.js';
import { isVersion, NO_VERSION } from './version.js';

/** The longest name of a prefix or a collection. */
export const MAX_NAME_LENGTH = 128;
/** A cache key: prefix and collection, of which each character may be encoded as three, and the entity's key. */
const MAX_CACHE_KEY_LENGTH = 2 * (3 * MAX_NAME_LENGTH + 1) + MAX_KEY_LENGTH;
const MAX_MAC_LENGTH = 128;

/**
 * For queues: why this is no job, or `undefined` when it is one. Whatever comes out of a queue's server is asked
 * before it is used: others may write there.
 */
export function jobProblem(data: unknown): string | undefined {
  if (typeof data !== 'object' || data === null) return 'it is no object';
  const job = data as Readonly<Record<string, unknown>>;
  const { kind, mac } = job;
  if (mac !== undefined && !isText(mac, MAX_MAC_LENGTH)) return 'its mac is no text';
  if (kind === 'invalidate') return invalidateProblem(job);
  if (kind === 'flush') return flushProblem(job);
  return 'its kind is unknown';
}

function invalidateProblem({ key, version }: Readonly<Record<string, unknown>>): string | undefined {
  if (!isText(key, MAX_CACHE_KEY_LENGTH)) return 'its key is no cache key';
  if (version !== NO_VERSION && !isVersion(version)) return 'its version is none';
  return undefined;
}

function flushProblem({ collection, key, refused }: Readonly<Record<string, unknown>>): string | undefined {
  if (!isText(collection, MAX_NAME_LENGTH)) return 'its collection is no name';
  if (!isText(key, MAX_KEY_LENGTH)) return 'its key is none';
  if (refused === undefined) return undefined;
  if (typeof refused !== 'object' || refused === null) return 'its refused write is no object';
  const { encoding, payload, version } = refused as Readonly<Record<string, unknown>>;
  if (!isVersion(version)) return 'its version is none';
  if (encoding !== 'utf8' && encoding !== 'base64') return 'the encoding of its payload is unknown';
  if (payload !== null && typeof payload !== 'string') return 'its payload is no text';
  return undefined;
}

function isText(value: unknown, most: number): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= most && value.isWellFormed();
}
