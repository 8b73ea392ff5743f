import type { Payload } from '../contracts/cache-commands.js';
import { type EndedTags, isUnended } from '../protocol/ended.js';

/** The ended tags of a collection at one time. */
export interface TagsNow {
  readonly list: EndedTags;
  /** The generation of the cache that gave the list, its token, and how far it goes: what an entry notes. */
  readonly mark: string;
  readonly generation: string;
}

/** In the place of {@link TagsNow}: whatever was ended. For those who look at entries, and serve no readers. */
export const WHATEVER_ENDED = 'whatever';

export function marked(generation: string, list: EndedTags): TagsNow {
  return { generation, list, mark: `${generation} ${list.token} ${list.last}` };
}

/** No JSON starts like this, nor MessagePack like its binary form. */
const TEXT_START = '~T1';
const BINARY_START = '\u00c1T1';
const END = '~';
/** A generation, a token, a number, and the tags. */
const HEADER = /^[~\u00c1]T1([\w-]{1,64}) ([^\s~]{1,224}) (\d{1,15}) ([\w,-]*)~$/;
/** A header is no longer: the tags of a row are few. */
const MAX_HEADER = 1_024;

/** The payload with what is noted in front. */
export function withHead(body: Payload, mark: string, tags: readonly string[]): Payload {
  const head = `T1${mark} ${tags.join()}${END}`;
  return typeof body === 'string'
    ? `~${head}${body}`
    : Buffer.concat([Buffer.from(`\u00c1${head}`, 'latin1'), body]);
}

/** The payload behind what is noted in front of it, if anything is. */
export function withoutHead(payload: Payload): Payload {
  const end = endOf(payload);
  return typeof payload === 'string' ? payload.slice(end) : end === 0 ? payload : payload.subarray(end);
}

/** True when none of the tags that are noted was ended since. Hot path: mostly nothing was ended at all. */
export function isCurrent(payload: Payload, { generation, list, mark }: TagsNow): boolean {
  const end = endOf(payload);
  if (end === 0) return false;
  const header = typeof payload === 'string' ? payload.slice(0, end) : latin1(payload, end);
  if (header.startsWith(mark, TEXT_START.length) && header[TEXT_START.length + mark.length] === ' ')
    return true;
  const [, made, token, last, tags = ''] = HEADER.exec(header) ?? [];
  if (token === undefined || made !== generation) return false;
  return isUnended(list, { token, last: Number(last), tags: tags === '' ? [] : tags.split(',') });
}

/** Where the body begins; `0`: nothing is noted. */
function endOf(payload: Payload): number {
  if (typeof payload === 'string') {
    return payload.startsWith(TEXT_START) ? payload.indexOf(END, TEXT_START.length) + 1 : 0;
  }
  if (payload[0] !== 0xc1 || payload[1] !== 0x54 || payload[2] !== 0x31) return 0;
  const start = latin1(payload, Math.min(payload.byteLength, MAX_HEADER));
  return start.startsWith(BINARY_START) ? start.indexOf(END) + 1 : 0;
}

function latin1({ buffer, byteOffset }: Uint8Array, end: number): string {
  return Buffer.from(buffer, byteOffset, end).toString('latin1');
}
