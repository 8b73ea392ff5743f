import { type CollectionInfo, InvalidOptionError, type Lockstep, messageOf } from '@lockstep/core';

/** Throws `InvalidOptionError`, which names those that there are. */
export function collectionOf({ collections }: Pick<Lockstep, 'collections'>, name: string): CollectionInfo {
  const found = collections.find((each) => each.name === name);
  if (found !== undefined) return found;
  const names = collections.map((each) => each.name).join(', ');
  throw new InvalidOptionError('collection', `there is no "${name}"; the configuration declares ${names}`);
}

/**
 * An id as somebody types it: JSON where it is a list or an object, else text, or a number where the store takes no such
 * text. Throws `InvalidOptionError`, `InvalidIdError`. The collection is open.
 */
export function idOf({ store }: CollectionInfo, text: string): unknown {
  const id = /^[[{"]/.test(text) ? jsonOf(text) : text;
  try {
    store.keyOf(id as never);
    return id;
  } catch (error) {
    if (!/^-?\d{1,15}$/.test(text)) throw error;
    store.keyOf(Number(text) as never);
    return Number(text);
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new InvalidOptionError('id', `"${text}" is no JSON: ${messageOf(error)}`);
  }
}
