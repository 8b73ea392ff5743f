import type { Redis } from 'ioredis';
import { ReadCommand } from './read-command.js';
import { ReplyEnd } from './reply-end.js';
import { joined } from './scratch.js';

type Listener = (chunk: Buffer) => void;

const PUSH = 0x3e;
const ERRORS: readonly (number | undefined)[] = [0x2d, 0x21];

/**
 * Takes the replies to {@link ReadCommand}s out of what a connection receives, and hands all else on to ioredis, reply by
 * reply: what such a command costs is mostly ioredis' making a buffer of each of its texts.
 */
class ReplyReader {
  readonly #client: Redis;
  readonly #handOn: Listener;
  readonly #end = new ReplyEnd();
  /** True from a reply's first byte to its last. */
  #begun = false;
  /** The command that the reply under way answers, if it is taken out. */
  #own: ReadCommand<unknown> | undefined;
  /** What has come of it. */
  readonly #parts: Buffer[] = [];
  /** False of a reply under way that no command waits for. */
  #answers = true;

  constructor(client: Redis, handOn: Listener) {
    this.#client = client;
    this.#handOn = handOn;
  }

  read(chunk: Buffer): void {
    let at = 0;
    /** From there on ioredis has not been handed what is its own: so many replies are whole. */
    let from = 0;
    let whole = 0;
    while (at < chunk.length) {
      // Of such a reply ioredis may have seen enough, but for its line end.
      const isRest = this.#begun;
      if (!isRest) this.#begin(chunk[at], whole);
      const end = this.#end.find(chunk, at);
      if (this.#own !== undefined) {
        if (from < at) this.#handOn(chunk.subarray(from, at));
        this.#take(this.#own, chunk, at, end);
        from = end < 0 ? chunk.length : end;
        whole = 0;
      } else if (isRest && end >= 0) {
        this.#handOn(chunk.subarray(0, end));
        from = end;
      } else if (this.#answers) whole++;
      if (end < 0) break;
      this.#begun = false;
      this.#own = undefined;
      at = end;
    }
    if (from < chunk.length) this.#handOn(from === 0 ? chunk : chunk.subarray(from));
  }

  /** Errors are ioredis' to judge. */
  #begin(type: number | undefined, whole: number): void {
    this.#begun = true;
    this.#answers = type !== PUSH;
    if (!this.#answers || ERRORS.includes(type)) return;
    const command = this.#client.commandQueue.peekAt(whole)?.command;
    if (command instanceof ReadCommand) this.#own = command;
  }

  /** @param end -1: more of it is to come */
  #take(command: ReadCommand<unknown>, chunk: Buffer, from: number, end: number): void {
    if (end < 0) {
      this.#parts.push(chunk.subarray(from));
      return;
    }
    const { commandQueue } = this.#client;
    let took = commandQueue.peekFront()?.command === command;
    if (this.#parts.length === 0) {
      took &&= tookFrom(command, chunk, from);
      if (!took) this.#handOn(chunk.subarray(from, end));
    } else {
      const parts = this.#parts.splice(0);
      parts.push(chunk.subarray(0, end));
      took &&= tookFrom(command, joined(parts, command.keeps), 0);
      if (!took) for (const part of parts) this.#handOn(part);
    }
    if (!took) return;
    commandQueue.shift();
    command.resolve(null);
  }
}

/** What can't be decoded (a text longer than a string may be) is ioredis' to hand on, whose caller is told. */
function tookFrom(command: ReadCommand<unknown>, bytes: Buffer, start: number): boolean {
  try {
    return command.take(bytes, start);
  } catch {
    return false;
  }
}

/**
 * Has the connection's replies read as {@link ReplyReader} says. Called when the client tells that it is connected: it has
 * sent its first commands, and received nothing. Its listener is then the first.
 */
export function readReplies(client: Redis): void {
  const { stream } = client;
  const [theirs] = stream.listeners('data') as Listener[];
  if (theirs === undefined || client.status !== 'connect') return;
  const reader = new ReplyReader(client, theirs);
  stream.prependListener('data', (chunk: Buffer) => reader.read(chunk));
  stream.off('data', theirs);
}
