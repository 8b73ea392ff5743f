import { InvalidIdError } from '../errors.js';

/** The longest key of an entity, in UTF-16 code units. */
export const MAX_KEY_LENGTH = 1024;

/** The prefix of every cache key unless set. */
export const DEFAULT_PREFIX = 'wtc';

/**
 * The start of a collection's cache keys, `{prefix}:{collection}:`. Colons and per cent signs inside
 * the two are percent-encoded, so that the first two colons always are the separators and no two
 * (collection, key) pairs meet in one cache key, whatever the key holds.
 */
export function keyPrefix(prefix: string, collection: string): string {
  return `${prefixStart(prefix)}${encodePart(collection)}:`;
}

/** The start of the keys that belong to no collection: each collection has a name, so that none has this start. */
export function enginePrefix(prefix: string): string {
  return keyPrefix(prefix, '');
}

/** The `keyPrefix` that a cache key starts with. */
export function keyPrefixOf(cacheKey: string): string {
  return cacheKey.slice(0, cacheKey.indexOf(':', cacheKey.indexOf(':') + 1) + 1);
}

/** The start of the cache keys of all collections. */
export function prefixStart(prefix: string): string {
  return `${encodePart(prefix)}:`;
}

export function encodePart(part: string): string {
  return part.replace(/[%:]/g, (character) => (character === '%' ? '%25' : '%3A'));
}

/** Throws `InvalidIdError` unless `key` is a non-empty, well-formed string of at most 1,024 characters. */
export function checkKey(key: unknown, collection: string): asserts key is string {
  if (typeof key !== 'string') {
    throw new InvalidIdError(`collection "${collection}": an id must be a string, got ${typeName(key)}`, {
      collection,
    });
  }
  if (key.length === 0) {
    throw new InvalidIdError(`collection "${collection}": an id must not be empty`, { collection });
  }
  if (key.length > MAX_KEY_LENGTH) {
    throw new InvalidIdError(
      `collection "${collection}": an id must have at most ${MAX_KEY_LENGTH} characters, got ${key.length}`,
      { collection, key: key.slice(0, 64) },
    );
  }
  if (!key.isWellFormed()) {
    throw new InvalidIdError(`collection "${collection}": an id must be well-formed Unicode`, { collection });
  }
}

function typeName(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'array' : typeof value;
}
