import {
  type ChangeFeed,
  ClosedError,
  foldAhead,
  InvalidOptionError,
  type NewRows,
  type RowCarrier,
  type StoreAdapter,
  type StoreCallOptions,
  type StoreCapabilities,
  type StoreCommand,
  type StoreDeclarations,
  type StoreFence,
  type StoreInstallation,
  type StoreOpenOptions,
  type StoreOutcome,
  type StoreReadOptions,
  type StoreRow,
  type StoreTransaction,
  StoreUnavailableError,
  type StoreWriteOptions,
  type TransactionHost,
} from '@lockstep/core';
import type { Knex } from 'knex';
import { storeError } from '../errors.js';
import type { TableInfo, TableSpec } from '../sql/catalog.js';
import { microsSql } from '../sql/stamp.js';
import { transactionOf } from '../transactions/handle.js';
import { arrayText } from '../wire/arrays.js';
import { type Row, statement } from '../wire/pipeline.js';
import type { SendOptions } from '../wire/session.js';
import { checkPut } from '../write/plan.js';
import type { Writer } from '../write/writer.js';
import { type DescribedTable, describeAttached } from './attachment.js';
import { CAPABILITIES } from './capabilities.js';
import { TableDeclarations } from './declarations.js';
import { type TableCall, tableFence } from './fence.js';
import { identityOf } from './identity.js';
import { type OpenedTable, openedTable, type TableParts } from './opened.js';
import { readLast, rowsAt } from './reads.js';
import { isDoubtful, noteAltered, TableShape } from './shape.js';
import { warn } from './warnings.js';
import { isLike, TableWatch } from './watch.js';

/** What a look at the catalogue may take that nobody waits for. */
const OPEN_TIMEOUT_MS = 10_000;

/**
 * One table as a store of rows by key. Made by `postgresStore(…).table(…)`.
 *
 * Values are rows as pg gives them (int8 and numeric as text unless you set parsers), columns under
 * their mapped names, without the version column.
 */
export class PostgresTable<Value, Id> implements StoreAdapter<Value, Id, Knex.Transaction> {
  declare readonly txType?: Knex.Transaction;
  readonly name: string;
  readonly source: string;
  readonly spec: TableSpec;
  readonly capabilities: StoreCapabilities;
  readonly transactions: TransactionHost<Knex.Transaction>;
  readonly feed: ChangeFeed;
  readonly fence: StoreFence;
  readonly carrier: RowCarrier<Value>;
  readonly shape: TableShape;
  readonly declared: StoreDeclarations<StoreCallOptions>;
  readonly installation: StoreInstallation;
  readonly returnsAsSent = (set: object): boolean => this.#ready().asSent.holds(set);
  readonly #parts: TableParts;
  #opened: OpenedTable<Value> | undefined;
  #watch: TableWatch | undefined;
  #opening: Promise<OpenedTable<Value>> | undefined;
  #closed = false;
  /** Why the table is not kept in step any more; empty: it is. */
  #problem = '';
  readonly #onKept = new Set<NonNullable<StoreOpenOptions['onKept']>>();

  constructor(spec: TableSpec, parts: TableParts) {
    this.spec = spec;
    this.source = `${spec.schema}.${spec.table}`;
    this.name = `postgres:${this.source}`;
    this.transactions = parts.transactions;
    this.feed = parts.feed;
    this.#parts = parts;
    this.installation = parts.installation(this);
    const send = (call: TableCall, options: StoreCallOptions): Promise<readonly Row[]> =>
      this.#send(call, { ...options, primary: true });
    const statements = async () => (await this.#open()).statements;
    this.fence = tableFence({ nowMs: () => parts.session.serverClock.nowMs(), statements, send });
    this.shape = new TableShape({ name: this.name, clock: parts.clock, look: () => this.#lookAgain() });
    this.carrier = {
      pack: (value) => this.#ready().rows.pack(value),
      copied: (row, copy) => this.#ready().rows.copied(row, copy),
      unpack: (packed) => this.#ready().rows.unpack(packed),
    };
    this.declared = new TableDeclarations(spec, {
      name: this.name,
      opened: () => this.#ready(),
      renewed: () => this.#lookAgain(),
      doubted: () => this.shape.lookSoon(),
      send,
    });
    this.capabilities = { ...CAPABILITIES, replicaReads: parts.replica !== undefined };
  }

  /**
   * Reads the table's shape and checks the binding; warns of an attachment by a release that left a way in. Throws
   * `InvalidOptionError` naming what to change or to run, `StoreUnavailableError` when the database can't be reached.
   */
  async open(options: StoreOpenOptions = {}): Promise<void> {
    this.#closed = false;
    const { onKept } = options;
    if (onKept !== undefined) this.#onKept.add(onKept);
    const { info } = await this.#open();
    await warn(this.#parts.run, info, this.name, options);
    if (this.#problem !== '') onKept?.(false, this.#problem);
  }

  async identity(): Promise<string | undefined> {
    return await identityOf(this.#parts.run, this.source, this.name);
  }

  keyOf(id: Id): string {
    const { codec, info } = this.#ready();
    try {
      return codec.keyOf(id);
    } catch (error) {
      // An enum may have got a label: the next call knows it.
      if (info.keyColumns.some(({ type }) => type.labels !== undefined)) this.shape.lookSoon();
      throw error;
    }
  }

  check(key: string, value: Value): void {
    const { codec, shapes } = this.#ready();
    try {
      checkPut(key, value, codec, shapes);
    } catch (error) {
      // The next one is checked by what there is now.
      void this.shape.altered(error, this.shape.known, OPEN_TIMEOUT_MS);
      throw error;
    }
  }

  async newRows(values: readonly Value[], options: StoreCallOptions): Promise<NewRows<Value>> {
    const { newRows } = await this.#open();
    return await newRows.draw(values, options);
  }

  async read(
    keys: readonly string[],
    options: StoreReadOptions,
  ): Promise<readonly (StoreRow<Value> | undefined)[]> {
    if (keys.length === 0) return [];
    const { clock } = this.#parts;
    const startedMs = clock.monotonic();
    const opened = await this.#open();
    const { known } = this.shape;
    try {
      return await this.#read(opened, keys, options);
    } catch (error) {
      const leftMs = (): number => Math.ceil(options.timeoutMs - (clock.monotonic() - startedMs));
      const again = await this.shape.altered(error, known, leftMs());
      if (again && options.tx !== undefined) noteAltered(error);
      if (!again || options.tx !== undefined || leftMs() <= 0) throw error;
      return await this.#read(await this.#open(), keys, { ...options, timeoutMs: leftMs() });
    }
  }

  readWithCommit(
    key: string,
    options: StoreCallOptions & { readonly tx: StoreTransaction },
  ): (() => StoreRow<Value> | undefined) | undefined {
    const rows = this.#opened && readLast(key, this.#opened, this.shape, options);
    return rows && (() => rowsAt<Value>(rows(), [key])[0]);
  }

  async #read(
    { codec, plain, statements }: OpenedTable<Value>,
    keys: readonly string[],
    options: StoreReadOptions,
  ): Promise<readonly (StoreRow<Value> | undefined)[]> {
    const inputs = keys.map((key) => codec.inputs(key));
    const [first] = inputs;
    const call =
      inputs.length === 1 && first !== undefined && plain === undefined
        ? { statement: statements.readOne(options.lock), values: first }
        : {
            statement: (plain ?? statements).readMany(),
            values: (first ?? []).map((_, part) => arrayText(inputs.map((each) => each[part] ?? ''))),
          };
    const rows = await this.#send(call, options);
    return rowsAt(rows, keys);
  }

  async write(
    commands: readonly StoreCommand<Value>[],
    options: StoreWriteOptions,
  ): Promise<readonly StoreOutcome<Value>[]> {
    if (commands.length === 0) return [];
    const { clock } = this.#parts;
    const startedMs = clock.monotonic();
    const opened = this.#open();
    const { writer } = opened instanceof Promise ? await opened : opened;
    const folding = foldAhead(commands, () => this.#clockUs(options));
    if (!(folding instanceof Promise)) return await this.#write(writer, folding, options, startedMs);
    const folded = await folding;
    // Asking takes of the write's own time: it must not be committed later than one that asks for nothing.
    const timeoutMs = Math.ceil(options.timeoutMs - (clock.monotonic() - startedMs));
    if (timeoutMs <= 0) {
      const message = `${this.name}: the server's clock came after ${options.timeoutMs} ms`;
      throw new StoreUnavailableError(message, 'not-committed');
    }
    return await this.#write(writer, folded, { ...options, timeoutMs }, clock.monotonic());
  }

  async #write(
    writer: Pick<Writer<Value>, 'write'>,
    commands: readonly StoreCommand<Value>[],
    options: StoreWriteOptions,
    startedMs: number,
  ): Promise<readonly StoreOutcome<Value>[]> {
    const { known } = this.shape;
    const outcomes = await writer.write(commands, options);
    const places: number[] = [];
    let error: unknown;
    for (let place = 0; place < outcomes.length; place++) {
      const outcome = outcomes[place] as StoreOutcome<Value>;
      if (outcome.kind !== 'failed' || !isDoubtful(outcome.error)) continue;
      places.push(place);
      error ??= outcome.error;
    }
    if (places.length === 0) return outcomes;
    const leftMs = (): number => Math.ceil(options.timeoutMs - (this.#parts.clock.monotonic() - startedMs));
    const altered = await this.shape.altered(error, known, leftMs());
    const timeoutMs = leftMs();
    // Of a transaction the server takes nothing more: its next run knows.
    if (altered && options.tx !== undefined) noteAltered(error);
    if (!altered || timeoutMs <= 0 || options.tx !== undefined) return outcomes;
    const failed = places.map((place) => commands[place] as StoreCommand<Value>);
    const again = await (await this.#open()).writer.write(failed, { ...options, timeoutMs });
    const all = [...outcomes];
    for (const [i, place] of places.entries()) all[place] = again[i] as StoreOutcome<Value>;
    return all;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#onKept.clear();
  }

  async #send(call: TableCall, options: StoreReadOptions): Promise<readonly Row[]> {
    const { session, replica, prepared } = this.#parts;
    const from = options.primary || replica === undefined ? session : replica;
    const send: SendOptions = {
      deadline: from.deadline(options.timeoutMs),
      signal: options.signal,
      what: this.name,
      readOnly: true,
      prepared,
      byKey: true,
      described: this.shape.described,
    };
    try {
      const results =
        options.tx === undefined
          ? await from.send([call], send)
          : await session.sendIn(transactionOf(options.tx), [call], send);
      return results[0] ?? [];
    } catch (error) {
      if (options.signal?.aborted && error === options.signal.reason) throw error;
      throw storeError(error, this.name, false);
    }
  }

  async #clockUs(options: StoreCallOptions): Promise<number> {
    const clock = statement(`SELECT ${microsSql()} AS "#now"`, this.#parts.prepared);
    const [row] = await this.#send({ statement: clock, values: [] }, { ...options, primary: true });
    return Number(row?.meta['#now']);
  }

  #ready(): OpenedTable<Value> {
    if (this.#closed) throw new ClosedError(`${this.name} is closed`);
    if (this.#opened === undefined) {
      throw new InvalidOptionError('store', `${this.name} must be opened before its ids are used`);
    }
    return this.#opened;
  }

  #open(): Promise<OpenedTable<Value>> | OpenedTable<Value> {
    if (this.#closed) throw new ClosedError(`${this.name} is closed`);
    if (this.#opened !== undefined) {
      this.#watch?.touch();
      return this.#opened;
    }
    this.#opening ??= this.#check().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  /** `again`: of an open table, which may not be kept in step any more. Throws `InvalidOptionError` otherwise. */
  #describe(again = false): Promise<DescribedTable> {
    return describeAttached(this.#parts.run, this.spec, this.name, again);
  }

  async #check(): Promise<OpenedTable<Value>> {
    const { info } = await this.#describe();
    this.#watch = new TableWatch(info, {
      clock: this.#parts.clock,
      look: async () => {
        const { info: seen, problem } = await this.#describe(true);
        this.#keep(seen, problem);
        return { info: seen, problem };
      },
      changed: (changed) => this.#rebind(changed),
    });
    return this.#rebind(info);
  }

  /** Columns that came are known from now on, too. */
  async #lookAgain(): Promise<void> {
    const { info, problem } = await this.#describe(true);
    if (this.#keep(info, problem)) return;
    const known = this.#opened?.info;
    if (known !== undefined && isLike(info, known)) return;
    this.#watch?.knows(info);
    this.#rebind(info);
  }

  /** Turns to plain statements where the table is not kept in step any more, and back. Answers whether it did. */
  #keep(seen: TableInfo, problem: string): boolean {
    const changed = (problem === '') !== (this.#problem === '');
    this.#problem = problem;
    if (!changed) return false;
    const declared = problem === '' ? seen.declared : (this.#opened?.info.declared ?? seen.declared);
    const info = { ...seen, declared };
    this.#watch?.keeps(info, problem);
    this.#rebind(info);
    for (const listener of this.#onKept) listener(problem === '', problem);
    return true;
  }

  #rebind(info: TableInfo): OpenedTable<Value> {
    this.#opened = openedTable<Value>(info, this.name, this.#parts, this.shape, this.#problem === '');
    return this.#opened;
  }
}
