import { type StoreCommand, type StoreIncrement, type StoreOutcome, StoreRefusedError } from '@lockstep/core';
import { isWhole, stepsBefore } from '@lockstep/core/kit';
import type { TableColumn, TableInfo } from '../sql/catalog.js';
import type { Shapes } from './shape.js';

/**
 * Texts that come back from a parser as they were, if it keeps the type's values exactly. A numeric column may round
 * each sum, even to hundreds, and tells how many decimals went into it: its increments come one by one.
 */
const PROBES = new Map([
  ['pg_catalog.int2', '-32767'],
  ['pg_catalog.int4', '-2147483647'],
  ['pg_catalog.int8', '-9007199254740993'],
]);

/** Increments that travel as one sum: which may, and what the field held after each of them. */
export class Sums {
  readonly #info: TableInfo;
  readonly #parserOf: (oid: number) => (text: string) => unknown;

  constructor(info: TableInfo, parserOf: (oid: number) => (text: string) => unknown) {
    this.#info = info;
    this.#parserOf = parserOf;
  }

  /** Throws `StoreRefusedError` where each has to come alone: floats, what is rounded, what other columns tell of. */
  check({ field, key, terms }: StoreIncrement, column: TableColumn): void {
    if (terms === undefined) return;
    const { columns, userTriggers } = this.#info;
    const followed = userTriggers.before || userTriggers.after || columns.some(({ writable }) => !writable);
    if (!followed && this.#isKept(column) && terms.every(isWhole)) return;
    throw new StoreRefusedError(`${this.#info.source}: sums of "${field}" are not exact`, { key });
  }

  /** A type of the server's own that rounds no integer, whose values the caller's parser does not change. */
  #isKept({ array, oid, sqlType, typeId }: TableColumn): boolean {
    const probe = PROBES.get(typeId);
    // A domain has conditions of its own.
    if (probe === undefined || array || sqlType !== typeId) return false;
    return String(this.#parserOf(oid)(probe)) === probe;
  }

  /** Tells in the outcomes of sums what the field held after each of their terms. */
  step<Value>(
    commands: readonly StoreCommand<Value>[],
    outcomes: (StoreOutcome<Value> | undefined)[],
    shapes: Shapes,
  ): void {
    commands.forEach((command, index) => {
      const outcome = outcomes[index];
      if (command.kind !== 'increment' || command.terms === undefined || outcome?.kind !== 'written') return;
      const { key, value, version } = outcome;
      const held = String((value as Record<string, unknown>)[command.field]);
      const { oid } = shapes.field(command.field);
      const steps = stepsBefore(held, command.terms)?.map(this.#parserOf(oid)) ?? [];
      outcomes[index] = { kind: 'written', key, value, version, steps };
    });
  }
}
