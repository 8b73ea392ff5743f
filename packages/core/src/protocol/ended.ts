/*
 * The list of the row tags of a collection that were ended: one entry (rule 9), replaced as a whole whenever a tag is
 * ended. A row's entry notes how far the list went before its load or its write began, and its own tags; it can be used
 * while none of these was added since. The list's token is unique for ever, so that a list which was lost (evicted,
 * flushed, expired) and begun anew has nothing in common with it.
 */

/** The most tags that are listed. What was noted before the oldest one of these is not current any more. */
export const MAX_ENDED = 256;

/** Among a row's tags where one of them can't be told: it counts as ended with any other. No hash is so short. */
export const UNTOLD = 'untold';

export interface EndedTags {
  readonly token: string;
  /** The highest number that was given to a tag. */
  readonly last: number;
  /** The highest number of a tag that is not listed any more. */
  readonly forgotten: number;
  /** The numbers of the listed tags, lowest first. */
  readonly numbers: ReadonlyMap<string, number>;
}

const LIST = /^([^\s~]{1,224})(?: (\d{1,15}) (\d{1,15})((?: [\w-]{1,43}=\d{1,15})*))?$/;

/** `undefined`: it is none. */
export function parseEnded(text: string): EndedTags | undefined {
  const [, token, last = '0', forgotten = '0', tags = ''] = LIST.exec(text) ?? [];
  if (token === undefined) return undefined;
  const numbers = new Map<string, number>();
  for (const each of tags.split(' ')) {
    const end = each.indexOf('=');
    if (end > 0) numbers.set(each.slice(0, end), Number(each.slice(end + 1)));
  }
  return { token, last: Number(last), forgotten: Number(forgotten), numbers };
}

/** The text of the list with these tags ended, too. */
export function withEnded(list: EndedTags, tags: Iterable<string>): string {
  const numbers = new Map(list.numbers);
  let { forgotten, last } = list;
  for (const tag of tags) {
    numbers.delete(tag);
    numbers.set(tag, ++last);
  }
  for (const [tag, number] of numbers) {
    if (numbers.size <= MAX_ENDED) break;
    numbers.delete(tag);
    forgotten = number;
  }
  const listed = [...numbers].map(([tag, number]) => ` ${tag}=${number}`);
  return `${list.token} ${last} ${forgotten}${listed.join('')}`;
}

/** True when none of the tags was ended since the list of this token went so far. */
export function isUnended(
  { forgotten, last, numbers, token }: EndedTags,
  noted: { readonly token: string; readonly last: number; readonly tags: readonly string[] },
): boolean {
  if (noted.token !== token || noted.last < forgotten || noted.last > last) return false;
  if (noted.last === last) return true;
  return noted.tags.every((tag) => tag !== UNTOLD && (numbers.get(tag) ?? 0) <= noted.last);
}
