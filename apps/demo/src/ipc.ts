import { Deadline } from '@lockstep/core/kit';

/** One end of a process's IPC channel, as `ChildProcess` and `process` both have it. */
export interface Endpoint {
  send?(message: unknown, callback: (error: Error | null) => void): boolean;
  on(event: 'message', listener: (message: unknown) => void): unknown;
  on(event: 'disconnect', listener: () => void): unknown;
}

/** The calls that one side may make to the other: `{ name: { argument, reply } }`. */
export type Calls = Readonly<Record<string, { readonly argument: unknown; readonly reply: unknown }>>;

/** The notices that one side sends the other without waiting: `{ name: content }`. */
export type Notices = Readonly<Record<string, unknown>>;

type Message =
  | { readonly type: 'call'; readonly number: number; readonly name: string; readonly argument: unknown }
  | { readonly type: 'reply'; readonly number: number; readonly value: unknown }
  | { readonly type: 'failure'; readonly number: number; readonly message: string }
  | { readonly type: 'notice'; readonly name: string; readonly content: unknown };

/** Thrown when the other process did not answer in time, or failed at what it was asked. */
export class PeerError extends Error {
  override readonly name = 'PeerError';
}

/** Thrown when the other process is gone: it may or may not have done what it was asked. */
export class PeerGoneError extends PeerError {}

/** Typed calls and notices over an IPC channel; order is kept, also between the two. */
export class Peer<Asks extends Calls, Tells extends Notices, Answers extends Calls, Hears extends Notices> {
  readonly #endpoint: Endpoint;
  readonly #waiting = new Map<
    number,
    { resolve: (value: unknown) => void; reject: (error: Error) => void }
  >();
  readonly #answers = new Map<string, (argument: never) => unknown>();
  readonly #listeners = new Map<string, (content: never) => void>();
  #number = 0;
  #gone = false;

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint;
    endpoint.on('message', (message) => void this.#receive(message as Message));
    endpoint.on('disconnect', () => {
      this.#gone = true;
      for (const { reject } of this.#waiting.values()) reject(new PeerGoneError('the process is gone'));
      this.#waiting.clear();
    });
  }

  /** Asks, and waits for the answer. Rejects with `PeerError`. */
  async call<Name extends keyof Asks & string>(
    name: Name,
    argument: Asks[Name]['argument'],
    timeoutMs: number,
  ): Promise<Asks[Name]['reply']> {
    if (this.#gone) throw new PeerGoneError('the process is gone');
    this.#number += 1;
    const number = this.#number;
    const answer = Promise.withResolvers<unknown>();
    this.#waiting.set(number, answer);
    const late = (): Error => new PeerError(`${name}: no answer in ${timeoutMs} ms`);
    const deadline = new Deadline({ timeoutMs, late, keepsAlive: true });
    try {
      this.#send({ type: 'call', number, name, argument });
      return (await deadline.bound(answer.promise)) as Asks[Name]['reply'];
    } finally {
      this.#waiting.delete(number);
    }
  }

  /** Tells; a process that is gone hears nothing. */
  tell<Name extends keyof Tells & string>(name: Name, content: Tells[Name]): void {
    if (!this.#gone) this.#send({ type: 'notice', name, content });
  }

  answer<Name extends keyof Answers & string>(
    name: Name,
    body: (argument: Answers[Name]['argument']) => Promise<Answers[Name]['reply']> | Answers[Name]['reply'],
  ): void {
    this.#answers.set(name, body);
  }

  hear<Name extends keyof Hears & string>(name: Name, listener: (content: Hears[Name]) => void): void {
    this.#listeners.set(name, listener);
  }

  async #receive(message: Message): Promise<void> {
    if (message.type === 'reply') this.#waiting.get(message.number)?.resolve(message.value);
    else if (message.type === 'failure') {
      this.#waiting.get(message.number)?.reject(new PeerError(message.message));
    } else if (message.type === 'notice') {
      this.#listeners.get(message.name)?.(message.content as never);
    } else {
      const { number, name, argument } = message;
      try {
        const body = this.#answers.get(name);
        if (body === undefined) throw new Error(`nobody answers ${name}`);
        this.#send({ type: 'reply', number, value: await body(argument as never) });
      } catch (error) {
        this.#send({
          type: 'failure',
          number,
          message: error instanceof Error ? error.message : String(error),
        });
      }
    }
  }

  #send(message: Message): void {
    // A channel that closes meanwhile is told by `disconnect`.
    this.#endpoint.send?.(message, () => undefined);
  }
}
