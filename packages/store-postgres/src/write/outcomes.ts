import { type StoreOutcome, StoreRefusedError, StoreUnavailableError, type Version } from '@lockstep/core';
import { UNBELIEVED } from '../sql/stamp.js';
import { rowValue } from '../values/rows.js';
import { textsIn } from '../values/texts.js';
import type { Row } from '../wire/pipeline.js';
import { asCommitted, Written } from './followed.js';
import type { Group, Item } from './plan.js';
import { OUT } from './statements/table-sql.js';
import { versionOf } from './versions.js';

/** The outcomes of a table's commands, by the answers of their statements. */
export class Outcomes<Value> {
  readonly #name: string;

  /** `name`: the table's, for messages. */
  constructor(name: string) {
    this.#name = name;
  }

  noteRows(
    { kind, items }: Group,
    rows: readonly Row[],
    outcomes: (StoreOutcome<Value> | undefined)[],
  ): void {
    if (kind === 'put') {
      const inOrder =
        rows.length === items.length &&
        (items.length === 1 || rows.every((row, i) => row.meta[OUT.key] === items[i]?.key));
      const byKey = inOrder ? undefined : new Map(rows.map((row) => [row.meta[OUT.key], row]));
      // A row for each: those that a trigger has given another key are told by their places.
      const byPlace =
        byKey === undefined || (rows.length === items.length && items.some(({ key }) => !byKey.has(key)));
      items.forEach((item, i) => {
        const row = byPlace ? rows[i] : byKey.get(item.key);
        outcomes[item.index] =
          row === undefined ? this.#dropped(item, items, rows) : this.#written(item, row);
      });
      return;
    }
    const [only] = items;
    if (only?.cells !== undefined) {
      // A change that found nothing to change does not say why, but for a delete.
      if (rows.length > 0 || kind === 'delete') outcomes[only.index] = this.#outcome(kind, only, rows[0]);
      return;
    }
    const byNumber = new Map(rows.map((row) => [Number(row.meta[OUT.number]), row]));
    for (const item of items) outcomes[item.index] = this.#outcome(kind, item, byNumber.get(item.index));
  }

  /** Takes over the rows as triggers have left them since the statement wrote them. */
  noteCommitted(
    { kind, items }: Group,
    rows: readonly Row[],
    outcomes: (StoreOutcome<Value> | undefined)[],
  ): void {
    const byKey = new Map(rows.map((row) => [row.meta[OUT.key], row]));
    for (const item of items) {
      const outcome = outcomes[item.index];
      if (outcome !== undefined) outcomes[item.index] = asCommitted(item, kind, outcome, byKey.get(item.key));
    }
  }

  /** Adds the texts of declared columns, by the rows' own keys. */
  noteTexts({ items }: Group, rows: readonly Row[], outcomes: (StoreOutcome<Value> | undefined)[]): void {
    const byKey = new Map(rows.map(({ meta }) => [meta[OUT.key], meta[OUT.texts] as string | null]));
    for (const { index, key } of items) {
      const outcome = outcomes[index];
      const texts = outcome?.kind === 'written' ? textsIn(byKey.get(outcome.key ?? key)) : undefined;
      if (outcome !== undefined && texts !== undefined)
        outcomes[index] = { ...outcome, texts } as typeof outcome;
    }
  }

  /**
   * As {@link Outcomes.noteTexts}, of rows that came with their texts.
   *
   * @param others what the feed still holds of each row; `undefined`: it can't be asked
   */
  noteReturned(
    { items }: Group,
    rows: readonly Row[],
    others: readonly Row[] | undefined,
    outcomes: (StoreOutcome<Value> | undefined)[],
  ): void {
    const byKey = new Map(rows.map(({ meta }) => [meta[OUT.key], meta]));
    const ofOthers = new Map(others?.map(({ meta }) => [meta[OUT.key], meta[OUT.texts] as string | null]));
    for (const { index, key } of items) {
      const outcome = outcomes[index];
      const meta = byKey.get(key);
      if (outcome?.kind !== 'written' || meta === undefined) continue;
      const own = textsIn(`[[${String(meta[OUT.before] ?? null)},${String(meta[OUT.after])}]]`) ?? [];
      const earlier = others === undefined ? [] : textsIn(ofOthers.get(key));
      // Too many to be told: what the row has left is not known then.
      if (earlier !== undefined)
        outcomes[index] = { ...outcome, texts: [...own, ...earlier] } as typeof outcome;
    }
  }

  /** A put without a row. Where others have new keys, nobody can tell whose they are. */
  #dropped(item: Item, items: readonly Item[], rows: readonly Row[]): StoreOutcome<Value> {
    const name = this.#name;
    const keys = new Set<unknown>(items.map(({ key }) => key));
    const { key } = item;
    const error = rows.every((row) => keys.has(row.meta[OUT.key]))
      ? new StoreRefusedError(
          `${name}: ${key} was not written: a trigger dropped the row, or its version is beyond belief (repair the table)`,
          { key },
        )
      : new StoreUnavailableError(
          `${name}: triggers dropped some rows of a batch and gave others new keys, so what became of ${key} is open`,
          'unknown',
          { key },
        );
    return { kind: 'failed', error };
  }

  #outcome(kind: Group['kind'], item: Item, row: Row | undefined): StoreOutcome<Value> | undefined {
    const locked = row === undefined ? 0 : versionOf(row.meta[OUT.locked]);
    if (locked === UNBELIEVED) return this.#unbelieved(item, 'the row has');
    if (row === undefined && (kind === 'flushPut' || kind === 'flushDelete'))
      return this.#unbelieved(item, 'this write has');
    switch (kind) {
      case 'insert':
      case 'create':
      case 'flushPut':
        if (row === undefined) return undefined;
        if (versionOf(row.meta[OUT.version]) > 0) return this.#written(item, row);
        return kind === 'flushPut' ? superseded(item, locked, row) : { kind: 'conflict', version: locked };
      case 'flushDelete':
        if (row === undefined) return undefined;
        if (row.meta[OUT.done] === true || row.meta[OUT.key] === true)
          return { kind: 'written', value: null, version: item.exact };
        return superseded(item, locked, row);
      case 'delete':
        if (row === undefined)
          return item.conditional ? { kind: 'conflict', version: 0 } : { kind: 'missing' };
        if (versionOf(row.meta[OUT.version]) === 0) return { kind: 'conflict', version: locked };
        return { kind: 'written', value: null, version: versionOf(row.meta[OUT.version]) };
      case 'patch':
      case 'replace':
        if (row === undefined && kind === 'patch' && !item.conditional) return { kind: 'missing' };
        if (row === undefined || versionOf(row.meta[OUT.version]) === 0)
          return { kind: 'conflict', version: locked };
        return this.#written(item, row);
      case 'restamp':
        if (row === undefined) return { kind: 'missing' };
        return versionOf(row.meta[OUT.version]) === 0
          ? { kind: 'conflict', version: locked }
          : this.#written(item, row);
      case 'increment':
        if (row === undefined) return { kind: 'missing' };
        if (versionOf(row.meta[OUT.version]) > 0) return this.#written(item, row);
        return {
          kind: 'failed',
          error: new StoreRefusedError(`${this.#name}: the field is NULL, which can't be incremented`, {
            key: item.key,
          }),
        };
      case 'put':
        return undefined;
    }
  }

  #unbelieved({ key }: Item, what: string): StoreOutcome<Value> {
    const message = `${this.#name}: ${what} a version that is none, or far ahead of the database's clock`;
    return { kind: 'failed', error: new StoreRefusedError(`${message}: repair the table`, { key }) };
  }

  #written(item: Item, row: Row): StoreOutcome<Value> {
    const version = versionOf(row.meta[OUT.version]);
    const key = row.meta[OUT.key];
    if (key === item.key) return new Written(rowValue<Value>(row), version);
    // The write that is buffered under the command's key belongs to no row.
    if (item.exact > 0) return { kind: 'superseded', version: item.exact + 1 };
    return { kind: 'written', value: rowValue<Value>(row), version, key: String(key) };
  }
}

function superseded<Value>(item: Item, locked: Version, row: Row): StoreOutcome<Value> {
  // A tombstone that is not believed is told as less than nothing.
  const seen = Math.max(locked, versionOf(row.meta[OUT.tombstone]));
  // A version that the snapshot did not show yet is newer by at least one.
  return { kind: 'superseded', version: seen >= item.exact ? seen : item.exact + 1 };
}
