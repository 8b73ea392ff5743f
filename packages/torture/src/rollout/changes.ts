/** Values by their columns. */
export type Row = Readonly<Record<string, unknown>>;

/** What one release of the application makes of the table. */
export interface Release {
  /** Null where a row that the release read is as it must be; otherwise what is wrong with it. */
  readonly problem: (row: Row) => string | null;
  /** Columns that the release owns, for a number that it draws; none: it changes the common ones only. */
  readonly mark?: (token: number) => Row;
}

/** A change of a table under a running application. */
export interface SchemaChange {
  /** The column in question, as the table is created with it; empty: there is none yet. */
  readonly column: string;
  /** Before the table is created. */
  readonly before?: string;
  /** With `$t` for the table's name. */
  readonly migration: string;
  readonly old: Release;
  readonly fresh: Release;
  /** Reads what `fresh.mark` wrote, as an SQL expression that is an integer. */
  readonly marked?: string;
}

function needs(column: string, isRight: (value: unknown) => boolean): (row: Row) => string | null {
  return (row) => (isRight(row[column]) ? null : `${column} is ${String(row[column])}`);
}

const isText = (value: unknown): boolean => typeof value === 'string' && value !== '';

/** Every kind of change that docs/deployments.md says can be made without a pause. */
export const CHANGES = {
  'add-column': {
    column: '',
    migration: "ALTER TABLE $t ADD COLUMN plan text NOT NULL DEFAULT 'p0'",
    old: { problem: needs('name', isText) },
    fresh: {
      problem: needs('plan', (value) => /^p\d+$/.test(String(value))),
      mark: (token) => ({ plan: `p${token}` }),
    },
    marked: 'substr(plan, 2)::int',
  },
  'drop-column': {
    column: "legacy text NOT NULL DEFAULT 'x'",
    migration: 'ALTER TABLE $t DROP COLUMN legacy',
    // A release that no longer uses the property came before.
    old: { problem: needs('name', isText) },
    fresh: { problem: (row) => ('legacy' in row ? 'legacy is shown' : null) },
  },
  'rename-column': {
    column: "title text NOT NULL DEFAULT 't0'",
    migration: 'ALTER TABLE $t RENAME title TO headline',
    // It understands both names.
    old: {
      problem: (row) =>
        isText(row['title']) || isText(row['headline']) ? null : 'neither title nor headline',
    },
    fresh: { problem: needs('headline', isText), mark: (token) => ({ headline: `t${token}` }) },
    marked: 'substr(headline, 2)::int',
  },
  'retype-column': {
    column: 'cents int NOT NULL DEFAULT 100',
    migration: 'ALTER TABLE $t ALTER cents DROP DEFAULT, ALTER cents TYPE numeric(12, 2) USING cents / 100.0',
    // It understands both types: cents as a number, the amount as text.
    old: { problem: needs('cents', (value) => value === 100 || /^\d+\.\d\d$/.test(String(value))) },
    fresh: {
      problem: needs('cents', (value) => /^\d+\.\d\d$/.test(String(value))),
      mark: (token) => ({ cents: `${token}.00` }),
    },
    marked: 'CASE cents WHEN 1.00 THEN 0 ELSE cents::int END',
  },
  'change-default': {
    column: "grade text NOT NULL DEFAULT 'g0'",
    migration: "ALTER TABLE $t ALTER grade SET DEFAULT 'g1'",
    old: { problem: needs('grade', isText) },
    fresh: { problem: needs('grade', isText), mark: (token) => ({ grade: `g${token}` }) },
    marked: 'substr(grade, 2)::int',
  },
  'enum-value': {
    before: "CREATE TYPE $t_state AS ENUM ('open', 'closed')",
    column: "state $t_state NOT NULL DEFAULT 'open'",
    migration: "ALTER TYPE $t_state ADD VALUE 'archived'",
    old: { problem: needs('state', isText) },
    fresh: { problem: needs('state', isText), mark: () => ({ state: 'archived' }) },
  },
} satisfies Record<string, SchemaChange>;

export type ChangeName = keyof typeof CHANGES;

export function changeOf(name: ChangeName): SchemaChange {
  return CHANGES[name];
}
