import {
  InvalidIdError,
  type NewRow,
  type NewRows,
  type StoreCallOptions,
  StoreRefusedError,
  StoreUnavailableError,
} from '@lockstep/core';
import type { Deadline } from '@lockstep/core/kit';
import { isRefusal, stateOf, storeError } from '../errors.js';
import type { KeyCodec } from '../keys/codec.js';
import type { TableInfo } from '../sql/catalog.js';
import { type KeyDefaults, keyDefaultsOf, keyDefaultsSql, markSql } from '../sql/key-defaults.js';
import { operator } from '../sql/operators.js';
import { identifier } from '../sql/quote.js';
import { SET_SAFE_PATH } from '../sql/stamp.js';
import { transactionOf } from '../transactions/handle.js';
import { type Call, type Row, statement } from '../wire/pipeline.js';
import type { SendOptions, Session } from '../wire/session.js';

export interface NewRowParts {
  /** The table's, for messages. */
  readonly name: string;
  readonly info: TableInfo;
  readonly codec: KeyCodec;
  readonly session: Session;
  readonly prepared: boolean;
}

/** Values that lack the same parts of their keys, by their places. */
interface Lacking {
  /** Numbers of key columns. */
  readonly parts: readonly number[];
  readonly places: number[];
}

type Properties = Readonly<Record<string, unknown>>;

/** How often defaults are read that are others by the time they are used. */
const MAX_TRIES = 3;

const CALLERS_PATH = 'lockstep.search_path';
const currentPath = "pg_catalog.current_setting('search_path')";
const ours = `CASE WHEN ${operator(`pg_catalog.length(${currentPath})`, '>', '0')} THEN pg_catalog.concat('pg_catalog, ', ${currentPath}) ELSE 'pg_catalog' END`;
const KEEP_PATH = `SELECT pg_catalog.set_config('${CALLERS_PATH}', ${currentPath}, true)`;
const USE_SAFE_PATH = `${KEEP_PATH}, ${SET_SAFE_PATH}`;
/**
 * The catalogue first, so that nobody's function comes in place of its own, and then the caller's: a default may call
 * functions whose bodies go by that.
 */
const USE_PATH = `${KEEP_PATH}, pg_catalog.set_config('search_path', ${ours}, true)`;
const RESTORE_PATH = `SELECT pg_catalog.set_config('search_path', pg_catalog.current_setting('${CALLERS_PATH}'), true)`;

/** Draws keys for new rows: from sequences, and whatever else defaults are made of, as an insert without them would. */
export class NewRowKeys {
  readonly #parts: NewRowParts;
  #defaults: KeyDefaults | undefined;

  constructor(parts: NewRowParts) {
    this.#parts = parts;
  }

  async draw<Value>(values: readonly Value[], options: StoreCallOptions): Promise<NewRows<Value>> {
    const { codec, session } = this.#parts;
    const rows = new Array<NewRow<Value> | StoreRefusedError>(values.length);
    const lacking = new Map<string, Lacking>();
    for (const [place, value] of values.entries()) {
      try {
        const parts = this.#lackedBy(value);
        if (parts.length === 0)
          rows[place] = { key: codec.keyOfDrawn(value as Properties, new Map()), value };
        else {
          const alike = lacking.get(parts.join()) ?? { parts, places: [] };
          lacking.set(parts.join(), alike);
          alike.places.push(place);
        }
      } catch (error) {
        rows[place] = refusal(error);
      }
    }
    if (lacking.size === 0) return rows;
    const groups = [...lacking.values()];
    const drawn = await this.#drawn(groups, session.deadline(options.timeoutMs), options);
    for (const [at, { parts, places }] of groups.entries()) {
      for (const [i, place] of places.entries()) {
        const row = drawn[at];
        rows[place] =
          row instanceof StoreRefusedError
            ? new StoreRefusedError(row.message)
            : this.#newRow(values[place] as Value, parts, row?.[i] as Row);
      }
    }
    return rows;
  }

  /** Throws `StoreRefusedError` for what is no row, and for a key that only the database makes. */
  #lackedBy(value: unknown): number[] {
    const { info, name } = this.#parts;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new StoreRefusedError(`${name}: a row must be an object of properties`);
    }
    return info.keyColumns.flatMap(({ column, property }, part) => {
      if ((value as Properties)[property] === undefined) return part;
      if (!info.columns.some((each) => each.identityAlways && each.name === column)) return [];
      const message = `${name}: "${column}" is GENERATED ALWAYS: only the database makes it (SQLSTATE 428C9)`;
      throw new StoreRefusedError(message);
    });
  }

  /** For each group its rows, or why nothing makes keys for it. */
  async #drawn(
    groups: readonly Lacking[],
    deadline: Deadline,
    options: StoreCallOptions,
  ): Promise<(readonly Row[] | StoreRefusedError)[]> {
    const { name } = this.#parts;
    for (let tries = 1; tries <= MAX_TRIES; tries++) {
      const defaults = this.#defaults ?? (await this.#read(deadline, options));
      const calls = groups.map((group) => this.#call(group, defaults));
      const sent = calls.filter((call): call is Call => !(call instanceof StoreRefusedError));
      let drawn: Row[][];
      try {
        drawn = sent.length === 0 ? [] : await this.#send(USE_PATH, sent, deadline, options);
      } catch (error) {
        const lasts = options.tx !== undefined || !isRefusal(error);
        if (lasts || (await this.#isStill(defaults, deadline, options))) throw this.#failure(error, defaults);
        continue;
      }
      const told = drawn.every(([row]) => row?.meta['#mark'] === defaults.mark);
      // Where nothing was to be sent nothing tells that a default has come.
      if (told && (sent.length > 0 || (await this.#isStill(defaults, deadline, options)))) {
        return calls.map((call) => (call instanceof StoreRefusedError ? call : (drawn.shift() ?? [])));
      }
      this.#defaults = undefined;
    }
    throw new StoreUnavailableError(`${name}: the default of its key keeps changing`, 'not-committed');
  }

  #failure(error: unknown, { byColumn }: KeyDefaults): Error {
    const known = storeError(error, `${this.#parts.name}: create`, false);
    const [sequence] = [...byColumn.values()].flatMap((each) => each.sequence ?? []);
    if (stateOf(error) !== '42501' || sequence === undefined) return known;
    const message = `${known.message}: keys are drawn before rows are inserted; GRANT USAGE ON SEQUENCE ${sequence} to the role`;
    return new StoreRefusedError(message, { cause: error });
  }

  /** True when the defaults are what they were. */
  async #isStill({ mark }: KeyDefaults, deadline: Deadline, options: StoreCallOptions): Promise<boolean> {
    return (await this.#read(deadline, options)).mark === mark;
  }

  async #read(deadline: Deadline, options: StoreCallOptions): Promise<KeyDefaults> {
    const { info, name } = this.#parts;
    try {
      const ask = { statement: statement(keyDefaultsSql(info), false), values: [] };
      const [rows = []] = await this.#send(USE_SAFE_PATH, [ask], deadline, options);
      this.#defaults = keyDefaultsOf(rows.map(({ value }) => value));
      return this.#defaults;
    } catch (error) {
      throw storeError(error, `${name}: create`, false);
    }
  }

  #call({ parts, places }: Lacking, { byColumn }: KeyDefaults): Call | StoreRefusedError {
    const { info, name, prepared } = this.#parts;
    const columns: string[] = [];
    const shown: string[] = [];
    for (const part of parts) {
      const { column, property, type } = info.keyColumns[part] as (typeof info.keyColumns)[number];
      const expression = byColumn.get(column)?.expression;
      if (expression === undefined) {
        return new StoreRefusedError(
          `${name}: "${column}" has no default, so the row must say its "${property}"`,
        );
      }
      const { sqlType = type.sqlType } = info.columns.find((each) => each.name === column) ?? {};
      columns.push(`(${expression})::${sqlType} AS "c${part}"`);
      shown.push(`d."c${part}" AS ${identifier(property)}, ${type.toTextSql(`d."c${part}"`)} AS "#k${part}"`);
    }
    // Without OFFSET a default that is said to be stable could be computed twice for one row.
    const rows = `SELECT ${columns.join(', ')} FROM pg_catalog.generate_series(1, $1::pg_catalog.int4) OFFSET 0`;
    const text = `SELECT ${shown.join(', ')}, ${markSql(info)} AS "#mark" FROM (${rows}) AS d`;
    return { statement: statement(text, prepared), values: [String(places.length)] };
  }

  /** Under a path of its own; a transaction goes on under the one that it had. */
  async #send(
    usePath: string,
    calls: readonly Call[],
    deadline: Deadline,
    { signal, tx }: StoreCallOptions,
  ): Promise<Row[][]> {
    const { name, prepared, session } = this.#parts;
    const path = (text: string): Call => ({ statement: statement(text, prepared), values: [] });
    const all = [path(usePath), ...calls, path(RESTORE_PATH)];
    const send: SendOptions = { deadline, signal, what: name, readOnly: false, prepared };
    const results =
      tx === undefined ? await session.send(all, send) : await session.sendIn(transactionOf(tx), all, send);
    return results.slice(1, -1);
  }

  #newRow<Value>(
    value: Value,
    parts: readonly number[],
    { meta, value: drawn }: Row,
  ): NewRow<Value> | StoreRefusedError {
    const { codec, info, name } = this.#parts;
    const none = parts.find((part) => typeof meta[`#k${part}`] !== 'string');
    if (none !== undefined) {
      return new StoreRefusedError(`${name}: the default of "${info.keyColumns[none]?.column}" gave NULL`);
    }
    const texts = new Map(parts.map((part) => [part, String(meta[`#k${part}`])]));
    try {
      return { key: codec.keyOfDrawn(value as Properties, texts), value: { ...value, ...drawn } };
    } catch (error) {
      return refusal(error);
    }
  }
}

function refusal(error: unknown): StoreRefusedError {
  if (error instanceof StoreRefusedError) return error;
  if (error instanceof InvalidIdError) return new StoreRefusedError(error.message, { cause: error });
  throw error;
}
