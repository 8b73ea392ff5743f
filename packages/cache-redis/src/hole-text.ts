/** The tail of a hole, as `format.ts` has it: what is noted there is the scripts'; the client tells whether it parses. */
import { MAX_TOKEN_BYTES } from '@lockstep/core';

export const MAX_INTENTS = 256;
export const MAX_TAIL_BYTES = 65_536;

/** Sticky, and of bounded parts: none of them looks at more than it takes. */
const LENGTH = /(?:0|[1-9]\d{0,2}):/y;
const TIME = /\d{13}/y;
const OVERLAPPED = /[01]/y;

/** True when the bytes are a hole's tail. */
export function isTail(bytes: Buffer): boolean {
  return bytes.length <= MAX_TAIL_BYTES && new Tail(bytes.toString('latin1')).parses();
}

/** Reads a tail from its start, one character a byte. */
class Tail {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  parses(): boolean {
    if (this.#text[0] === 'L' && !(this.#token() && this.#take(TIME))) return false;
    if (this.#text[this.#at] === 'R' && !this.#token()) return false;
    for (let intents = 0; intents < MAX_INTENTS && this.#text[this.#at] === 'I'; intents++) {
      if (!(this.#token(0) && this.#take(TIME) && this.#take(OVERLAPPED))) return false;
    }
    return this.#at === this.#text.length;
  }

  /** A tag and the token behind it. */
  #token(min = 1): boolean {
    this.#at += 1;
    const length = Number(this.#take(LENGTH)?.slice(0, -1) ?? -1);
    this.#at += Math.max(0, length);
    return length >= min && length <= MAX_TOKEN_BYTES && this.#at <= this.#text.length;
  }

  #take(part: RegExp): string | undefined {
    part.lastIndex = this.#at;
    const found = part.exec(this.#text)?.[0];
    this.#at += found?.length ?? 0;
    return found;
  }
}
