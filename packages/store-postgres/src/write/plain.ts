import {
  type Clock,
  type StoreCommand,
  StoreContractError,
  type StoreOutcome,
  type StoreWriteOptions,
} from '@lockstep/core';
import { STAMP } from '../attach/user-triggers.js';
import { storeError } from '../errors.js';
import type { KeyCodec } from '../keys/codec.js';
import type { TableInfo } from '../sql/catalog.js';
import { transactionOf } from '../transactions/handle.js';
import { type Described, type Row, type Statement, statement } from '../wire/pipeline.js';
import type { SendOptions, Session } from '../wire/session.js';
import { Outcomes } from './outcomes.js';
import {
  ATTACHED,
  deleteSql,
  flushDeleteSql,
  incrementSql,
  insertSql,
  notAttachedSql,
  patchSql,
  putSql,
  readSql,
  replaceSql,
} from './plain-sql.js';
import { type Group, type Item, planWrite } from './plan.js';
import type { Shapes } from './shape.js';
import { TableSql } from './statements/table-sql.js';
import type { Sums } from './sums.js';

export interface PlainParts {
  readonly name: string;
  readonly info: TableInfo;
  readonly session: Session;
  readonly codec: KeyCodec;
  readonly shapes: Shapes;
  readonly sums: Sums;
  readonly clock: Clock;
  readonly described: Described;
}

/**
 * The calls on a table that is not kept in step any more: it may have no version column, no trigger, no feed. A row's
 * version is the number of the transaction that wrote it, which orders nothing and tells one state from another: what
 * has a condition keeps it, and nothing may be cached by it. One statement for each write.
 */
export class PlainWriter<Value> {
  readonly #parts: PlainParts;
  readonly #sql: TableSql;
  readonly #outcomes: Outcomes<Value>;
  /** Absent where attach's triggers were there all the time: they tell the feed of the writes. */
  readonly #notAttached: Statement | undefined;

  constructor(parts: PlainParts) {
    this.#parts = parts;
    this.#sql = new TableSql(parts.info);
    this.#outcomes = new Outcomes(parts.name);
    const { triggers } = parts.info;
    this.#notAttached = triggers.includes(STAMP) ? undefined : statement(notAttachedSql(this.#sql), false);
  }

  /** The key's parts are arrays. */
  readMany(): Statement {
    return statement(readSql(this.#sql), false);
  }

  async write(
    commands: readonly StoreCommand<Value>[],
    options: StoreWriteOptions,
  ): Promise<StoreOutcome<Value>[]> {
    const { clock, described, name, session, shapes, sums } = this.#parts;
    const { groups, outcomes } = planWrite(commands, this.#parts, clock.now(), () => false);
    const send: SendOptions = {
      deadline: session.deadline(options.timeoutMs),
      signal: options.signal,
      what: name,
      readOnly: false,
      prepared: false,
      described,
    };
    for (const group of groups) {
      for (const item of group.items)
        await this.#write({ ...group, items: [item] }, item, send, options, outcomes);
    }
    sums.step(commands, outcomes, shapes);
    return outcomes.map((outcome, index) => {
      if (outcome !== undefined) return outcome;
      const error = new StoreContractError(`${name}: no answer for a command`, { key: commands[index]?.key });
      return { kind: 'failed', error };
    });
  }

  async #write(
    group: Group,
    item: Item,
    send: SendOptions,
    options: StoreWriteOptions,
    outcomes: (StoreOutcome<Value> | undefined)[],
  ): Promise<void> {
    const { name, session } = this.#parts;
    try {
      const text = this.#textOf(group);
      if (text === undefined) {
        outcomes[item.index] = { kind: 'conflict', version: 0 };
        return;
      }
      const calls = [
        { statement: statement(text, false), values: [item.record] },
        ...(this.#notAttached === undefined ? [] : [{ statement: this.#notAttached, values: [] }]),
      ];
      const results =
        options.tx === undefined
          ? await session.send(calls, send)
          : await session.sendIn(transactionOf(options.tx), calls, send);
      this.#outcomes.noteRows(group, results[0] as readonly Row[], outcomes);
    } catch (error) {
      if (send.signal?.aborted && error === send.signal.reason) throw error;
      outcomes[item.index] = { kind: 'failed', error: storeError(error, `${name} ${item.key}`, true) };
    }
  }

  /** `undefined`: it has no meaning here. */
  #textOf({ field, kind, shape }: Group): string | undefined {
    const sql = this.#sql;
    switch (kind) {
      case 'put':
      case 'flushPut':
        return putSql(sql, shape, kind === 'flushPut');
      case 'insert':
      case 'create':
        return insertSql(sql, shape, kind === 'create');
      case 'replace':
        return replaceSql(sql, shape);
      case 'patch':
        return patchSql(sql, shape);
      case 'increment':
        return field && incrementSql(sql, field);
      case 'delete':
        return deleteSql(sql);
      case 'flushDelete':
        return flushDeleteSql(sql);
      case 'restamp':
        return undefined;
    }
  }
}

/** True of what a write failed with that met a table which is attached again: nothing of it was committed. */
export function isAttachedAgain(error: unknown): boolean {
  return error instanceof Error && error.message.includes(ATTACHED);
}
