import { Command } from 'ioredis';
import { answerOf, isReply } from '../refusal.js';

/** Makes what is asked for of the text at `from` to `to`; `undefined`: there is nothing. */
export interface DecodeAt<Found> {
  (bytes: Buffer, from: number, to: number): Found | undefined;
  /** True where what it makes keeps some of the bytes: nothing else may be written there. */
  readonly keeps?: boolean;
}

export function decodeText<Found>(text: Buffer | null, decode: DecodeAt<Found>): Found | undefined {
  return text === null ? undefined : decode(text, 0, text.length);
}

const [LF, CR, ZERO] = [0x0a, 0x0d, 0x30];
const [ARRAY, BLOB, NULL, MINUS] = [0x2a, 0x24, 0x5f, 0x2d];

/**
 * A GET, or an MGET of more keys, whose reply is decoded where it lies in what the socket has received
 * ({@link ReplyReader}): without a `Buffer` for each key, which costs as much as a good part of what a hit costs.
 * Buffers that ioredis has made of it after all are decoded, too.
 */
export class ReadCommand<Found> extends Command {
  readonly #count: number;
  readonly #decode: DecodeAt<Found>;
  #found: (Found | undefined | Error)[] | undefined;

  constructor(keys: readonly string[], decode: DecodeAt<Found>, keyPrefix: string) {
    super(
      keys.length === 1 ? 'get' : 'mget',
      keys as string[],
      keyPrefix === '' ? UNPREFIXED : { replyEncoding: null, keyPrefix },
    );
    this.#count = keys.length;
    this.#decode = decode;
    const { reject } = this;
    this.reject = (error) => {
      if (!isReply(error)) return reject(error);
      this.#found = keys.map(() => answerOf(error));
      this.resolve(null);
    };
  }

  /** See {@link DecodeAt.keeps}. */
  get keeps(): boolean {
    return this.#decode.keeps === true;
  }

  /** True where the whole reply that begins there is one of texts, which are found then: resolve it. */
  take(bytes: Buffer, from: number): boolean {
    const found: (Found | undefined)[] = [];
    let at = from;
    if (this.#count > 1) {
      if (bytes[at] !== ARRAY) return false;
      const line = lineOf(bytes, at + 1);
      if (line.number !== this.#count) return false;
      at = line.end;
    }
    for (let i = 0; i < this.#count; i++) {
      const type = bytes[at];
      if (type === NULL || (type === BLOB && bytes[at + 1] === MINUS)) {
        found.push(undefined);
        at = bytes.indexOf(LF, at) + 1;
      } else if (type === BLOB) {
        const { end, number } = lineOf(bytes, at + 1);
        const next = end + number + 2;
        if (!(next <= bytes.length)) return false;
        found.push(this.#decode(bytes, end, end + number));
        at = next;
      } else return false;
    }
    this.#found = found;
    return true;
  }

  /** What was found; what the server refused is an `Error` in each key's place. */
  override transformReply(reply: Buffer | Buffer[]): Buffer[] {
    const texts: readonly (Buffer | null)[] = Array.isArray(reply) ? reply : [reply];
    const found = this.#found ?? texts.map((text) => decodeText(text, this.#decode));
    return found as unknown as Buffer[];
  }
}

const UNPREFIXED = { replyEncoding: null };

/** The number that the line says from there on, and the place behind it; `NaN`: the line is not one of digits. */
function lineOf(bytes: Buffer, from: number): { readonly number: number; readonly end: number } {
  let number = 0;
  for (let at = from; ; at++) {
    const digit = (bytes[at] ?? CR) - ZERO;
    if (!(digit >= 0 && digit <= 9)) return { number: bytes[at] === CR ? number : Number.NaN, end: at + 2 };
    number = number * 10 + digit;
  }
}
