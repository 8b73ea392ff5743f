import { type DeclaredSets, InvalidOptionError } from '@lockstep/core';
import { DECLARED_SETS, type OptionsOf, option } from '@lockstep/core/kit';
import { describeTable, type Run, type TableInfo, type TableSpec } from '../sql/catalog.js';
import { checkUnique, withDeclared } from '../sql/declared.js';
import { type Attached, readAttached } from './attach.js';
import { whyNotTogether } from './triggers/pieces.js';

export interface AttachOptions {
  /**
   * How long a statement may wait for the table's lock, in ms; writers queue behind it meanwhile.
   * @defaultValue 5000
   */
  readonly lockTimeoutMs?: number;
  /** Roles that run Lockstep without owning its schema. @defaultValue none */
  readonly grantTo?: readonly string[];
  /**
   * Unique indexes (a property, or a list of them) by which collections look rows up: each change tells the values of
   * their columns. Replaces those that are recorded; `[]`: none. @defaultValue those that are recorded
   */
  readonly unique?: readonly (string | readonly string[])[];
  /** Properties, or lists of them, that tags are made of. As `unique`, of any columns. @defaultValue those that are recorded */
  readonly tags?: readonly (string | readonly string[])[];
  /**
   * Others write many rows of the table with one statement: those are recorded together, at the statement's end. Not of
   * a table that is partitioned, inherits or declares columns, and it can become no partition then. Lone writes take the
   * database longer, Lockstep's own by some 0.04 ms, those of others by 0.1. @defaultValue as the table is attached, at first `false`
   */
  readonly bulk?: boolean;
}

export const NAME = option.is<string>(
  'a name of 1 to 63 bytes',
  (name) => typeof name === 'string' && name !== '' && !name.includes('\0') && Buffer.byteLength(name) <= 63,
);

export const ATTACH = {
  lockTimeoutMs: option.integer(5_000, 1, 3_600_000),
  grantTo: option.is<readonly string[], readonly string[]>('a list of roles', Array.isArray, []),
  unique: DECLARED_SETS,
  tags: DECLARED_SETS,
  bulk: option.flag(undefined),
} satisfies OptionsOf<AttachOptions>;

/** The part of attach's options that says how changes are recorded. */
export interface DeclareOptions {
  readonly unique?: AttachOptions['unique'] | undefined;
  readonly tags?: AttachOptions['tags'] | undefined;
  readonly bulk?: boolean | undefined;
}

/** A table with the sets that are to be declared: given ones, or those that are recorded. */
export async function describeDeclared(
  run: Run,
  spec: TableSpec,
  { bulk, tags, unique }: DeclareOptions,
): Promise<TableInfo> {
  const info = await describeTable(run, spec);
  const recorded = (await attachedOrNone(run, info))?.declared ?? {};
  // Columns that were dropped are declared no more.
  const left = (sets: DeclaredSets['unique'] = []) =>
    sets.filter((set) => set.every((name) => info.columns.some((column) => column.name === name)));
  const columnsOf = (sets: AttachOptions['unique']): string[][] | undefined =>
    sets?.map((set) =>
      (typeof set === 'string' ? [set] : [...set]).map((each) => spec.columns[each] ?? each),
    );
  const given = columnsOf(unique);
  const declared = withDeclared(info, {
    unique: given ?? left(recorded.unique),
    tags: columnsOf(tags) ?? left(recorded.tags),
  });
  checkUnique(info, given);
  const problem = bulk === true ? whyNotTogether(declared) : undefined;
  if (problem !== undefined) {
    throw new InvalidOptionError('bulk', `${info.source} ${problem}: its rows are recorded one by one`);
  }
  return { ...declared, bulk: bulk ?? info.bulk };
}

/** What somebody recorded who is not to be believed counts as nothing: attach refuses, and says what mends it. */
async function attachedOrNone(run: Run, info: TableInfo): Promise<Attached | undefined> {
  try {
    return await readAttached(run, info);
  } catch (error) {
    if (error instanceof InvalidOptionError) return undefined;
    throw error;
  }
}
