const [LF, MINUS, ZERO, NINE] = [0x0a, 0x2d, 0x30, 0x39];
const [BLOB, BLOB_ERROR, VERBATIM] = [0x24, 0x21, 0x3d];
const [ARRAY, SET, PUSH, MAP, ATTRIBUTE] = [0x2a, 0x7e, 0x3e, 0x25, 0x7c];

/** Finds where replies of the Redis protocol (RESP 2 and 3) end, however they are cut into chunks. */
export class ReplyEnd {
  /** Values that are still to come, until the reply is whole. */
  #values = 1;
  /** Bytes of a blob that are still to come, its line end included. */
  #blob = 0;
  /** The line under way: its first byte, 0 before that, and its number. */
  #type = 0;
  #number = 0;
  #negative = false;

  /** The place behind the reply that goes on there; -1: it goes on in the next chunk. */
  find(chunk: Buffer, from: number): number {
    let at = from;
    for (;;) {
      if (this.#blob > chunk.length - at) {
        this.#blob -= chunk.length - at;
        return -1;
      }
      at += this.#blob;
      this.#blob = 0;
      if (this.#values === 0) {
        this.#values = 1;
        return at;
      }
      at = this.#line(chunk, at);
      if (at < 0) return -1;
    }
  }

  /** The place behind the line that goes on there; -1: it goes on in the next chunk. */
  #line(chunk: Buffer, from: number): number {
    let at = from;
    if (this.#type === 0 && at < chunk.length) this.#type = chunk[at++] as number;
    for (; at < chunk.length; at++) {
      const byte = chunk[at] as number;
      if (byte >= ZERO && byte <= NINE) this.#number = this.#number * 10 + byte - ZERO;
      else if (byte === MINUS) this.#negative = true;
      else if (byte === LF) {
        this.#take(this.#type, this.#negative ? -1 : this.#number);
        this.#type = 0;
        this.#number = 0;
        this.#negative = false;
        return at + 1;
      }
    }
    return -1;
  }

  /** @param number negative: there is none */
  #take(type: number, number: number): void {
    if (type !== ATTRIBUTE) this.#values--;
    if (number < 0) return;
    if (type === BLOB || type === BLOB_ERROR || type === VERBATIM) this.#blob = number + 2;
    else if (type === ARRAY || type === SET || type === PUSH) this.#values += number;
    else if (type === MAP || type === ATTRIBUTE) this.#values += 2 * number;
  }
}
