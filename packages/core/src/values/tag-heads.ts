import type { Payload } from '../contracts/cache-commands.js';
import { type EndedTags, isUnended } from '../protocol/ended.js';
import { headerLength, restOf, startOf, withHeader } from './header.js';

/** The ended tags of a collection at one time. */
export interface TagsNow {
  readonly list: EndedTags;
  /** The text that an entry notes: the generation of the cache that gave the list, the list's token, and its last number. */
  readonly mark: string;
  readonly generation: string;
}

/** In the place of {@link TagsNow}: no tag counts as ended. For tools that show entries, and serve no readers. */
export const WHATEVER_ENDED = 'whatever';

export function marked(generation: string, list: EndedTags): TagsNow {
  return { generation, list, mark: `${generation} ${list.token} ${list.last}` };
}

/** A generation, a token, a number, and the tags. */
const HEADER = /^.T1([\w-]{1,64}) ([^\s~]{1,224}) (\d{1,15}) ([\w,-]*)~$/;
/** A header is no longer: the tags of a row are few. */
const MAX_HEADER = 1_024;
/** The content of a header begins behind this many characters. */
const CONTENT = 3;

/** The payload behind a header that notes the mark and the tags. */
export function withHead(body: Payload, mark: string, tags: readonly string[]): Payload {
  return withHeader(body, `T1${mark} ${tags.join()}`);
}

/** The payload without its header, if it has one. */
export function withoutHead(payload: Payload): Payload {
  const length = headerLength(payload, 'T1', MAX_HEADER);
  return length === 0 ? payload : restOf(payload, length);
}

/** True when none of the tags in the header was ended since. Hot path: mostly the mark is the same, and nothing is parsed. */
export function isCurrent(payload: Payload, { generation, list, mark }: TagsNow): boolean {
  const header = startOf(payload, headerLength(payload, 'T1', MAX_HEADER));
  if (header.startsWith(mark, CONTENT) && header[CONTENT + mark.length] === ' ') return true;
  const [, made, token, last, tags = ''] = HEADER.exec(header) ?? [];
  if (token === undefined || made !== generation) return false;
  return isUnended(list, { token, last: Number(last), tags: tags === '' ? [] : tags.split(',') });
}
