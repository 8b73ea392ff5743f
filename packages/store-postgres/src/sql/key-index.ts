import { InvalidOptionError } from '@lockstep/core';
import type { RawIndex, RawTable } from './catalog-query.js';
import { identifier } from './quote.js';

interface KeyPart {
  readonly column: string;
  readonly number: number;
}

/** Throws `InvalidOptionError`, with the statement that mends it, where no index tells each row by the key. */
export function checkKeyIndex(
  key: readonly KeyPart[],
  { kind, otherIndexes, uniques }: RawTable,
  { relation, source }: { readonly relation: string; readonly source: string },
): void {
  if ((uniques ?? []).some((columns) => isOf(columns, key))) return;
  const columns = key.map(({ column }) => identifier(column)).join(', ');
  const like = (otherIndexes ?? []).filter((index) => isOf(index.columns, key));
  const deferrable = like.find(
    ({ immediate, unique, valid, whole }) => unique && valid && whole && !immediate,
  );
  const invalid = like.find(({ unique, valid, whole }) => unique && whole && !valid);
  const concurrently = kind === 'p' ? '' : ' CONCURRENTLY';
  const anew = `CREATE UNIQUE INDEX${concurrently} ON ${relation} (${columns})`;
  const problem = `${source} has no primary key or unique index on exactly these columns (not partial, not deferrable)`;
  throw new InvalidOptionError(
    'key',
    `${problem}: ${mendOf(deferrable, invalid, { relation, columns, concurrently }) ?? anew}`,
  );
}

function mendOf(
  deferrable: RawIndex | undefined,
  invalid: RawIndex | undefined,
  { columns, concurrently, relation }: Readonly<Record<'columns' | 'concurrently' | 'relation', string>>,
): string | undefined {
  if (deferrable !== undefined && deferrable.constraint !== null) {
    const kind = deferrable.primary ? 'PRIMARY KEY' : 'UNIQUE';
    return `its constraint is deferrable: ALTER TABLE ${relation} DROP CONSTRAINT ${deferrable.constraint}, ADD ${kind} (${columns})`;
  }
  return invalid && `index ${invalid.name} is invalid: REINDEX INDEX${concurrently} ${invalid.name}`;
}

function isOf(columns: string, key: readonly KeyPart[]): boolean {
  const numbers = columns.split(' ').map(Number);
  return numbers.length === key.length && key.every(({ number }) => numbers.includes(number));
}
