import { createHash } from 'node:crypto';

/** A statement by its text; prepared once per connection when it has a name. */
export interface Statement {
  readonly name: string;
  readonly text: string;
  /** It stamps and records the rows that it writes, and has to say so to the table's triggers: they leave them alone then. */
  readonly stampsRows: boolean;
}

/** The call of a statement without parameters that is parsed anew. */
export const bare = (text: string): Call => ({ statement: statement(text, false), values: [] });

/** Names a statement by its text. An empty name is parsed anew on each use. */
export function statement(text: string, prepared = true, stampsRows = false): Statement {
  return {
    text,
    name: prepared ? `lockstep_${createHash('sha256').update(text).digest('hex').slice(0, 24)}` : '',
    stampsRows,
  };
}

/** A parameter: a text, or bytes in the type's binary form. */
export type Parameter = string | Buffer | null;

export interface Call {
  readonly statement: Statement;
  readonly values: readonly Parameter[];
}

/** A row as it came: columns whose name starts with `#` are the statement's own, the others the table's. */
export class Row {
  readonly meta: Record<string, unknown> = {};
  readonly value: Record<string, unknown> = {};
  /** Some value is more than a text, a plain number or a boolean. */
  odd = false;
  readonly #fields: readonly Field[];
  readonly #texts: readonly (string | null)[];

  constructor(fields: readonly Field[], texts: readonly (string | null)[]) {
    this.#fields = fields;
    this.#texts = texts;
  }

  /** The table's columns as the server sent them. */
  texts(): ReadonlyMap<string, string | null> {
    const texts = new Map<string, string | null>();
    this.#fields.forEach(({ name, own }, index) => {
      if (!own) texts.set(name, this.#texts[index] ?? null);
    });
    return texts;
  }
}

function isOdd(value: unknown): boolean {
  if (typeof value === 'number') return !Number.isFinite(value) || Object.is(value, -0);
  return typeof value !== 'string' && typeof value !== 'boolean';
}

export interface FieldDescription {
  readonly name: string;
  readonly dataTypeID: number;
}

interface Field {
  readonly name: string;
  /** The statement's own, not the table's. */
  readonly own: boolean;
  readonly parse: (value: string) => unknown;
}

/** The part of pg's `Connection` that a submittable speaks to. */
export interface WireConnection {
  readonly stream: { cork?(): void; uncork?(): void; destroy(): void };
  parse(message: { text: string; name: string; types: readonly number[] }): void;
  bind(message: { portal: string; statement: string; values: readonly Parameter[]; binary: boolean }): void;
  describe(message: { type: 'P'; name: string }): void;
  execute(message: { portal: string; rows: number }): void;
  close(message: { type: 'S'; name: string }): void;
  flush(): void;
  sync(): void;
  on(name: 'parameterStatus', listener: (message: ParameterStatus) => void): unknown;
}

/** A setting that the server tells, whenever its value changes. */
interface ParameterStatus {
  readonly parameterName: string;
  readonly parameterValue: string;
}

/** The part of pg's `Client` that is used. */
export interface WireClient {
  readonly connection: WireConnection;
  readonly processID: number | null;
  getTransactionStatus(): string | null;
  /** knex drops a connection that has it instead of lending it again. */
  __knex__disposed?: unknown;
  query(submittable: object): unknown;
  getTypeParser(oid: number, format: 'text'): (value: string) => unknown;
}

/**
 * Parameters behind it are read in UTF-8. It fits before a BEGIN, and before `SET TRANSACTION`: it is no query. A failure of what it
 * travels with takes it back.
 */
const SET_UTF8 = bare("SET client_encoding TO 'UTF8'");

/** Statements that a connection holds; beyond this the oldest is closed. */
const MAX_PREPARED = 200;

/** The columns that a statement answers with. */
interface Columns {
  readonly described: readonly FieldDescription[];
  readonly fields: readonly Field[];
}

/** What is known of a connection. */
class Known {
  /**
   * The statements that it has prepared, and the columns that they answer with once they are known: a statement is
   * described once, since the server refuses one whose result has changed its type, and its columns' parsers are looked
   * up once.
   */
  readonly prepared = new Map<string, Columns | undefined>();
  /** Texts are exchanged in UTF-8, as pg has them. Not known at first: the pool, or the user, may have set another. */
  isUtf8 = false;

  constructor(connection: WireConnection) {
    connection.on('parameterStatus', ({ parameterName, parameterValue }) => {
      if (parameterName === 'client_encoding') this.isUtf8 = parameterValue === 'UTF8';
    });
  }
}

const knownOf = new WeakMap<WireConnection, Known>();

function know(connection: WireConnection): Known {
  let known = knownOf.get(connection);
  if (known === undefined) {
    known = new Known(connection);
    knownOf.set(connection, known);
  }
  return known;
}

/** Told, before the rows of an answer, what their columns are. */
export type Described = (fields: readonly FieldDescription[]) => void;

export interface PipelineOptions {
  readonly described?: Described | undefined;
  /**
   * The server sends the answers before it commits, which waits for its disk: they are decoded meanwhile. Nobody is told
   * them before the commit. @defaultValue false
   */
  readonly decodesAhead?: boolean | undefined;
}

/** Told the calls' answers, or what pg threw. */
export type PipelineCallback = (error: unknown, results?: Row[][]) => void;

const NO_OPTIONS: PipelineOptions = {};

/**
 * Several statements in one round trip and one transaction: everything before the Sync commits or
 * fails together. It is what lets a time-out travel with its statement (`set_config(…, true)` ends with
 * the transaction), through poolers too. A submittable in pg's sense, like pg-cursor's.
 */
export class Pipeline {
  readonly #client: WireClient;
  #calls: readonly Call[];
  /** How many of them come before those that are asked for. */
  #before = 0;
  readonly #results: Row[][] = [];
  #rows: Row[] = [];
  /** The fields of the rows that arrive; `undefined` until the first row of a statement that was described before. */
  #fields: readonly Field[] | undefined;
  readonly #fresh: string[] = [];
  #done: PipelineCallback | undefined;
  readonly #options: PipelineOptions;
  /** pg times queries out through this when the user set `query_timeout`. */
  callback = (error?: unknown): void => {
    if (error) this.#end(error);
  };

  /** `done` is called once. */
  constructor(
    client: WireClient,
    calls: readonly Call[],
    done: PipelineCallback,
    options: PipelineOptions = NO_OPTIONS,
  ) {
    this.#client = client;
    this.#calls = calls;
    this.#done = done;
    this.#options = options;
  }

  /** The first statement's. */
  get text(): string {
    return this.#calls[this.#before]?.statement.text ?? '';
  }

  /** How many of the calls have been answered. */
  get answered(): number {
    return Math.max(0, this.#results.length - this.#before);
  }

  #end(error: unknown, results?: Row[][]): void {
    this.#done?.(error, results);
    this.#done = undefined;
  }

  submit(connection: WireConnection): Error | null {
    const { isUtf8, prepared } = know(connection);
    if (!isUtf8) {
      this.#calls = [SET_UTF8, ...this.#calls];
      this.#before = 1;
    }
    connection.stream.cork?.();
    try {
      for (const call of this.#calls) this.#send(connection, call, prepared);
      if (this.#options.decodesAhead === true) connection.flush();
      connection.sync();
    } catch (error) {
      // Some of it may have been written already, and a Sync would have the server run that: the connection ends instead.
      this.#client.__knex__disposed = error;
      connection.stream.destroy();
      return error instanceof Error ? error : new Error(String(error));
    } finally {
      connection.stream.uncork?.();
    }
    return null;
  }

  #send(
    connection: WireConnection,
    { statement: { name, text }, values }: Call,
    prepared: Map<string, Columns | undefined>,
  ): void {
    if (name === '' || !prepared.has(name)) {
      if (name !== '') {
        // A failed pipeline leaves open whether its statements were parsed; closing what may not exist is fine.
        connection.close({ type: 'S', name });
        const [oldest] = prepared.keys();
        if (prepared.size >= MAX_PREPARED && oldest !== undefined) {
          prepared.delete(oldest);
          connection.close({ type: 'S', name: oldest });
        }
        prepared.set(name, undefined);
        this.#fresh.push(name);
      }
      connection.parse({ text, name, types: [] });
    }
    connection.bind({ portal: '', statement: name, values, binary: false });
    if (prepared.get(name) === undefined) connection.describe({ type: 'P', name: '' });
    connection.execute({ portal: '', rows: 0 });
  }

  handleRowDescription({ fields }: { readonly fields: readonly FieldDescription[] }): void {
    const { prepared } = know(this.#client.connection);
    const columns = this.#columnsOf(fields);
    if (prepared.has(this.#answering)) prepared.set(this.#answering, columns);
    this.#begin(columns);
  }

  /** The name of the statement whose answer is arriving. */
  get #answering(): string {
    return this.#calls[this.#results.length]?.statement.name ?? '';
  }

  #columnsOf(described: readonly FieldDescription[]): Columns {
    const fields = described.map(({ name, dataTypeID }) => ({
      name,
      own: name.startsWith('#'),
      parse: this.#client.getTypeParser(dataTypeID, 'text'),
    }));
    return { described, fields };
  }

  #begin(columns: Columns | undefined): readonly Field[] {
    if (columns !== undefined) this.#options.described?.(columns.described);
    this.#fields = columns?.fields ?? [];
    return this.#fields;
  }

  handleDataRow(message: { readonly fields: readonly (string | null)[] }): void {
    try {
      const fields = this.#fields ?? this.#begin(know(this.#client.connection).prepared.get(this.#answering));
      const row = new Row(fields, message.fields);
      for (let index = 0; index < fields.length; index++) {
        const { name, own, parse } = fields[index] as Field;
        const raw = message.fields[index];
        const target = own ? row.meta : row.value;
        const value = raw === null || raw === undefined ? null : parse(raw);
        target[name] = value;
        if (value !== null && !own && isOdd(value)) row.odd = true;
      }
      this.#rows.push(row);
    } catch (error) {
      // A user's type parser threw.
      this.#end(error);
    }
  }

  handleCommandComplete(): void {
    this.#results.push(this.#rows);
    this.#rows = [];
    this.#fields = undefined;
  }

  handleEmptyQuery(): void {
    this.handleCommandComplete();
  }

  handleError(error: unknown, connection: WireConnection): void {
    const { prepared } = know(connection);
    for (const name of this.#fresh) prepared.delete(name);
    this.#end(error);
  }

  // Only now has the transaction committed.
  handleReadyForQuery(): void {
    this.callback();
    if (this.#before === 0) {
      this.#end(undefined, this.#results);
      return;
    }
    // A failure would have taken the setting back.
    know(this.#client.connection).isUtf8 = true;
    this.#end(undefined, this.#results.slice(this.#before));
  }

  handlePortalSuspended(): void {}
  handleCopyInResponse(): void {}
  handleCopyData(): void {}
}

/** Forgets what a connection has prepared, so that it is parsed anew. */
export function forgetPrepared(client: WireClient): void {
  know(client.connection).prepared.clear();
}
