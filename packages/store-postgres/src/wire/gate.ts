import { type LockstepError, StoreUnavailableError, TransactionOverError } from '@lockstep/core';
import { rolledBackBy } from '@lockstep/core/kit';
import type { Knex } from 'knex';
import { isFatal, isTransient, stateOf, storeError } from '../errors.js';
import { Closing } from './closing.js';
import type { PooledClient } from './lender.js';
import { bare, type Call, Pipeline, type Row, type WireConnection } from './pipeline.js';
import { IS_OWN, isRollback, isRollbackToSavepoint } from './rollbacks.js';
import type { Nested, WatchedClient } from './watched.js';

interface Waiting {
  readonly send: () => void;
  readonly refuse: (reason: Error) => void;
  readonly text: unknown;
}

/** What knex calls with a statement's end. */
type Answered = (error: unknown, response?: { readonly command: string; readonly rows: Row[] }) => void;

/**
 * The connection of one transaction, as its body sees it. Statements go to the server one by one, and each only
 * while the transaction is open: behind its end the connection would run them on their own, and commit them.
 *
 * The server says with each answer whether the transaction is open, failed or over. `client` is what is handed out,
 * for as long as anybody holds it; the owner's own statements go past it.
 */
export class TransactionGate {
  /** As pg's client; its `query` asks here first. */
  readonly client: PooledClient;
  readonly #real: WatchedClient;
  readonly #queue: Waiting[] = [];
  /** A statement of the body's is with the server; what it says. */
  #busy = false;
  #text: unknown;
  /** It has rolled back something: whether the transaction, only the server can tell. */
  #rolledBack = false;
  /** Something of the same message came behind that: without another BEGIN it is committed on its own. */
  #wentOn = false;
  /** Told once no statement of the body's is with the server. */
  #idle: (() => void) | undefined;
  #begun = false;
  #finishing = false;
  #own = 0;
  #over: TransactionOverError | undefined;
  /** The failure after which the server takes nothing but a rollback, of the whole or to a savepoint. */
  #failure: Error | undefined;
  /** Why it can't be committed, whatever the body says. */
  #lost: StoreUnavailableError | undefined;
  #committed: StoreUnavailableError | undefined;
  /** What travels with knex's BEGIN; `undefined` once it has. */
  #opening: readonly Call[] | undefined;
  #openingError: unknown;
  /** What travels with knex's COMMIT. */
  readonly closing = new Closing();
  /** The body's nested transactions that were open at the last look. */
  readonly #nested = new Set<Nested>();
  /** One of them was open at the end: its first statements would be committed without the others. */
  #halfNested = false;

  /** `opening`: sent in one message with the BEGIN. */
  constructor(client: PooledClient, opening: readonly Call[] = []) {
    this.#opening = opening;
    this.#real = client as WatchedClient;
    this.client = new Proxy(client, {
      get: (target, property) => (property === 'query' ? this.#query : Reflect.get(target, property, target)),
    });
    this.#real.connection.prependListener('errorMessage', this.#onError as never);
    this.#real.connection.prependListener('commandComplete', this.#onComplete as never);
    this.#real.connection.prependListener('readyForQuery', this.#onReady as never);
    this.#real.on('error', this.#onLost);
    this.#real.on('end', this.#onLost);
  }

  /** Why there is nothing to commit: a statement failed, the body ended the transaction, the connection is lost. */
  get problem(): LockstepError | undefined {
    if (this.#lost !== undefined) return this.#lost;
    if (this.#failure === undefined) {
      if (!this.#halfNested) return undefined;
      const half = 'a nested transaction was not over when the body returned, so all was rolled back';
      return new StoreUnavailableError(half, 'not-committed');
    }
    return rolledBackBy(this.#refused);
  }

  /** A statement of the body's has committed what was done until then, whatever becomes of the rest. */
  get committed(): LockstepError | undefined {
    return this.#committed;
  }

  /** The error that statements are refused with; `undefined` while the transaction is open. */
  get #refusal(): TransactionOverError | undefined {
    if (this.#over !== undefined || this.#failure === undefined) return this.#over;
    const message = 'a statement of the transaction failed, so it can only be rolled back';
    return new TransactionOverError(message, { cause: this.#refused });
  }

  get #refused(): LockstepError | undefined {
    return this.#failure && storeError(this.#failure, 'transaction', false);
  }

  /** The deadlock or serialization failure that failed the transaction, whatever its body made of it. */
  get transient(): Error | undefined {
    return isTransient(this.#failure) ? this.#failure : undefined;
  }

  /** Has knex ask here first, too: it says that a transaction is over without a code, and to a stream not at all. */
  guard(trx: Knex.Transaction): void {
    const client = trx.client as Record<string, (...args: unknown[]) => unknown>;
    for (const name of ['acquireConnection', 'query']) {
      const call = client[name];
      client[name] = (...args) =>
        this.#over === undefined || this.#own > 0 ? call?.apply(client, args) : Promise.reject(this.#over);
    }
    const { transaction: nest } = client;
    client['transaction'] = (...args) => {
      const nested = nest?.apply(client, args) as Nested;
      for (const each of this.#nested) if (each.isCompleted()) this.#nested.delete(each);
      this.#nested.add(nested);
      return nested;
    };
  }

  /** Resolves once the server has answered what it has of the body's; `undefined`: it has nothing. */
  get underWay(): Promise<void> | undefined {
    if (!this.#busy || this.#lost !== undefined) return undefined;
    return new Promise((resolve) => {
      this.#idle = resolve;
    });
  }

  /** From now on nothing of the body's is sent; what is with the server goes on. */
  end(reason: string, cause?: unknown): void {
    if (this.#over !== undefined) return;
    this.#over = new TransactionOverError(`the transaction is over: ${reason}`, {
      cause: this.#refused ?? cause,
    });
    this.#halfNested = [...this.#nested].some((nested) => !nested.isCompleted());
    for (const { refuse } of this.#queue.splice(0)) refuse(this.#over);
  }

  /** Sends the statement that ends the transaction. */
  finish<T>(send: () => T): T {
    this.#finishing = true;
    return this.past(send);
  }

  /** What the server refused of that which was sent with the BEGIN: then the transaction can only be rolled back. */
  get openingError(): unknown {
    return this.#openingError;
  }

  /** Rolls back what could not be closed, and so was not committed. */
  async rollBackUnclosed(): Promise<void> {
    if (this.closing.failed) await this.ask([bare('ROLLBACK')]);
  }

  /** Sends the owner's own statements, behind whatever is with the server. */
  past<T>(send: () => T): T {
    this.#own++;
    try {
      return send();
    } finally {
      this.#own--;
    }
  }

  /** Sends the owner's own statements; resolves with the answer of the last. */
  async ask(calls: readonly Call[]): Promise<Row[]> {
    const { promise, resolve, reject } = Promise.withResolvers<Row[]>();
    const settle = (error: unknown, results?: Row[][]): void =>
      results === undefined ? reject(error) : resolve(results.at(-1) ?? []);
    this.#real.query(new Pipeline(this.#real, calls, settle));
    return await promise;
  }

  /** Leaves the connection alone; `client` goes on refusing. */
  release(): void {
    this.end('it has ended');
    this.#real.connection.removeListener('errorMessage', this.#onError as never);
    this.#real.connection.removeListener('commandComplete', this.#onComplete as never);
    this.#real.connection.removeListener('readyForQuery', this.#onReady as never);
    this.#real.removeListener('error', this.#onLost);
    this.#real.removeListener('end', this.#onLost);
  }

  readonly #onError = (error: Error): void => {
    this.#failure ??= error;
  };

  /**
   * With another one begun in the same breath (`COMMIT AND CHAIN`) no answer says that the transaction is over. One that is
   * prepared may be committed by anybody.
   */
  readonly #onComplete = ({ text }: { readonly text?: string }): void => {
    if (this.#isOwnEnd || this.#committed !== undefined) return;
    this.#wentOn = this.#rolledBack;
    if (text === 'ROLLBACK' && !isRollbackToSavepoint(this.#text)) this.#rolledBack = true;
    if (text !== 'COMMIT' && text !== 'PREPARE TRANSACTION') return;
    this.#endedByBody('unknown');
    this.#committed = this.#lost;
  };

  /** What is being answered ends the transaction on its owner's behalf: the body has nothing more with the server. */
  get #isOwnEnd(): boolean {
    return this.#finishing && !this.#busy;
  }

  readonly #onReady = ({ status }: { readonly status?: string }): void => {
    if (status === 'T') {
      this.#begun = true;
      this.#failure = undefined;
      if (this.#rolledBack) {
        this.#askWhetherOwn();
        return;
      }
    }
    if (status === 'I' && this.#begun && !this.#isOwnEnd && this.#lost === undefined) {
      const isRolledBack = this.#failure !== undefined || (this.#rolledBack && !this.#wentOn);
      this.#endedByBody(isRolledBack ? 'not-committed' : 'unknown');
      if (!isRolledBack) this.#committed = this.#lost;
    }
    this.#answered();
  };

  #answered(): void {
    this.#busy = false;
    this.#idle?.();
    // Behind pg's own listener, which hands out the answer that this ends.
    if (this.#queue.length > 0) queueMicrotask(() => this.#next());
  }

  /** Before anything else of the body's is sent: behind `ROLLBACK AND CHAIN` there is another transaction. */
  #askWhetherOwn(): void {
    this.#rolledBack = false;
    const asked = new Pipeline(this.#real, [IS_OWN], (error, results) => {
      if (error === undefined && results?.[0]?.[0]?.value['own'] !== 'own')
        this.#endedByBody('not-committed');
    });
    this.#real.query(asked);
  }

  /** COMMIT or ROLLBACK as a statement of the body's: what it sends next would be committed on its own. */
  #endedByBody(outcome: StoreUnavailableError['outcome']): void {
    const message = 'the transaction is over: a statement of its body has ended it';
    this.#lose(new StoreUnavailableError(message, outcome));
    this.#real.__knex__disposed = this.#lost;
    this.#real.connection.stream.destroy();
  }

  readonly #onLost = (error?: unknown): void => {
    const message = 'the transaction is over: its connection is lost';
    if (!this.#finishing) this.#lose(new StoreUnavailableError(message, 'unknown', { cause: error }));
  };

  #lose(reason: StoreUnavailableError): void {
    this.#lost ??= reason;
    this.end('its connection is gone', this.#lost);
    this.#idle?.();
  }

  readonly #query = (query: unknown, ...rest: unknown[]): unknown => {
    const text = typeof query === 'string' ? query : (query as { text?: unknown } | null)?.text;
    const answered = rest.at(-1) as Answered;
    if (this.#opening !== undefined) return this.#open(String(text), this.#opening, answered);
    if (this.#own > 0) {
      const closes = this.#finishing && !this.closing.isEmpty && text === 'COMMIT;';
      return closes ? this.#close(answered) : this.#forward(query, rest);
    }
    const wait = (send: () => void, refuse: (reason: Error) => void): void => {
      if (this.#over !== undefined) {
        refuse(this.#over);
        return;
      }
      this.#queue.push({ send, refuse, text });
      this.#next();
    };
    if (typeof (query as { submit?: unknown } | null)?.submit === 'function') {
      const submitted = query as { handleError(error: Error, connection: WireConnection): void };
      const refuse = (reason: Error): void =>
        process.nextTick(() => submitted.handleError(reason, this.#real.connection));
      wait(() => this.#forward(query, rest), refuse);
      return query;
    }
    const callback = rest.at(-1);
    if (typeof callback === 'function') {
      wait(
        () => this.#forward(query, rest),
        (reason) => process.nextTick(callback, reason),
      );
      return undefined;
    }
    return new Promise((resolve, reject) => {
      wait(() => (this.#forward(query, rest) as Promise<unknown>).then(resolve, reject), reject);
    });
  };

  /** knex's first statement, its BEGIN. A connection whose transaction was begun is not lost with what came behind it. */
  #open(begin: string, calls: readonly Call[], answered: Answered): void {
    this.#opening = undefined;
    const pipeline = new Pipeline(this.#real, [bare(begin), ...calls], (error) => {
      const begun = pipeline.answered > 0 && stateOf(error) !== undefined && !isFatal(error);
      if (begun) this.#openingError = error;
      if (error === undefined || begun) answered(null, { command: 'BEGIN', rows: [] });
      else answered(error);
    });
    this.#real.query(pipeline);
  }

  #close(answered: Answered): void {
    this.closing.send(this.#real, (error) => {
      if (error === undefined) answered(null, { command: 'COMMIT', rows: [] });
      else answered(error);
    });
  }

  #next(): void {
    while (!this.#busy) {
      const first = this.#queue.shift();
      if (first === undefined) return;
      const refusal = this.#failure !== undefined && isRollback(first.text) ? this.#over : this.#refusal;
      if (refusal === undefined) {
        this.#busy = true;
        this.#text = first.text;
        first.send();
      } else first.refuse(refusal);
    }
  }

  #forward(query: unknown, rest: readonly unknown[]): unknown {
    const { query: send } = this.#real as unknown as { query(...args: unknown[]): unknown };
    return send.call(this.#real, query, ...rest);
  }
}
