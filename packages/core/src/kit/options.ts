import { type Clock, systemClock } from '../contracts/clock.js';
import { InvalidOptionError, messageOf } from '../errors.js';

export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;

/**
 * One option of a table. The table is the only place that says what an option may be and what it is when nobody gives
 * it: checks, settings, the error for unknown options and the tables in the documentation come from it.
 *
 * @typeParam Value what may be given
 * @typeParam Absent what it is when it is not given
 */
export interface Option<Value, Absent = undefined> {
  readonly fallback: Absent;
  /** Must be given. */
  readonly required?: boolean;
  /** The values that it may have, in words: `must be …`. */
  readonly range: string;
  readonly fits: (value: unknown) => boolean;
  /** Numbers only. */
  readonly bounds?: { readonly min: number; readonly max: number };
  /** The message says what was given instead. */
  readonly shown?: boolean;
  /** Options of its own. */
  readonly table?: OptionTable;
  /** For the compiler; never set. */
  readonly type?: Value;
}

export type OptionTable = Readonly<Record<string, Option<unknown, unknown>>>;

/** The table that an interface of options must have: `{ … } satisfies OptionsOf<BatchOptions>`. */
export type OptionsOf<Options> = {
  readonly [Name in keyof Options]-?: Option<Loose<Exclude<Options[Name], undefined>>, unknown>;
};

type Loose<T> = T | { readonly [Name in keyof T]?: T[Name] | undefined };

/** Checked options, complete with their defaults. */
export type Settings<Table extends OptionTable> = {
  readonly [Name in keyof Table]: Table[Name] extends Option<infer Value, infer Absent>
    ? Value | Absent
    : never;
};

/** The kinds of options. */
export const option = {
  /** `fits`: what else than `range` says can't be told by the compiler. */
  is: <Value, Absent = undefined>(
    range: string,
    fits: (value: unknown) => boolean,
    fallback?: Absent,
  ): Option<Value, Absent> => ({ fallback: fallback as Absent, range, fits }),

  integer: <Absent extends number | undefined>(fallback: Absent, min: number, max: number) =>
    numberOf(fallback, min, max, true),

  decimal: (fallback: number, min: number, max: number) => numberOf(fallback, min, max, false),

  choice: <const Choice extends string, Absent extends Choice | undefined>(
    choices: readonly Choice[],
    fallback: Absent,
  ): Option<Choice, Absent> => ({
    fallback,
    range: `one of ${choices.join(', ')}`,
    fits: (value) => (choices as readonly unknown[]).includes(value),
    shown: true,
  }),

  flag: <Absent extends boolean | undefined>(fallback: Absent): Option<boolean, Absent> => ({
    fallback,
    range: 'true or false',
    fits: (value) => typeof value === 'boolean',
    shown: true,
  }),

  callback: <Callback>() => option.is<Callback>('a function', (value) => typeof value === 'function'),

  /** An object, known by its methods. */
  having: <Thing extends object>(what: string, ...methods: readonly (keyof Thing)[]) =>
    option.is<Thing>(
      what,
      (value) =>
        typeof value === 'object' &&
        value !== null &&
        methods.every((method) => typeof (value as Thing)[method] === 'function'),
    ),

  clock: (): Option<Clock, Clock> => ({
    ...option.having<Clock>('a clock', 'now', 'monotonic', 'schedule'),
    fallback: systemClock,
  }),

  random: (): Option<() => number, () => number> => ({ ...option.callback(), fallback: Math.random }),

  /** Options of its own, which have their defaults when the group is absent. */
  group: <Table extends OptionTable>(table: Table): Option<Settings<Table>, Settings<Table>> => ({
    ...option.optionalGroup(table),
    fallback: withDefaults({}, table, ''),
  }),

  /** Options of its own, of something that is off when the group is absent. */
  optionalGroup: <Table extends OptionTable>(table: Table): Option<Settings<Table>> => ({
    fallback: undefined,
    range: 'an object of options',
    fits: () => true,
    table,
  }),

  required: <Value>(kind: Option<Value, unknown>): Option<Value, never> => ({
    ...(kind as Option<Value, never>),
    required: true,
  }),
};

function numberOf<Absent>(
  fallback: Absent,
  min: number,
  max: number,
  whole: boolean,
): Option<number, Absent> {
  const fits = (value: unknown): boolean =>
    typeof value === 'number' && value >= min && value <= max && (!whole || Number.isInteger(value));
  const range = `${whole ? 'a whole number' : 'a number'} from ${min} to ${max}`;
  return { fallback, range, fits, bounds: { min, max }, shown: true };
}

/** The value, or what it is when it is absent. Throws `InvalidOptionError` naming its path unless it is in range. */
export function optionValue<Value, Absent>(
  value: Value | undefined,
  { fallback, fits, range, shown }: Option<Value, Absent>,
  path: string,
): Value | Absent {
  if (value === undefined) return fallback;
  if (fits(value)) return value;
  throw new InvalidOptionError(path, `must be ${range}${shown ? `, got ${messageOf(value)}` : ''}`);
}

/**
 * Throws `InvalidOptionError`, by its path, for what is no object of options and for the first option that is unknown
 * or out of its range: a misspelt option must not be ignored.
 */
export function checkOptions(given: object, table: OptionTable, where: string): void {
  if (typeof given !== 'object' || given === null) {
    throw new InvalidOptionError(where, `must be an object of options, got ${messageOf(given)}`);
  }
  for (const [name, value] of Object.entries(given)) {
    const known = Object.hasOwn(table, name) ? table[name] : undefined;
    if (known === undefined) {
      const names = Object.keys(table).join(', ');
      throw new InvalidOptionError(`${where}.${name}`, `unknown option; known are ${names}`);
    }
    optionValue(value as unknown, known, `${where}.${name}`);
  }
}

/** The options, checked as by `checkOptions`, and complete. A required one that is absent is refused, too. */
export function withDefaults<Table extends OptionTable>(
  given: object,
  table: Table,
  where: string,
): Settings<Table> {
  checkOptions(given, table, where);
  const settings: Record<string, unknown> = {};
  for (const [name, { fallback, range, required, table: own }] of Object.entries(table)) {
    const value = (given as Record<string, unknown>)[name];
    const path = `${where}.${name}`;
    if (value === undefined && required) throw new InvalidOptionError(path, `must be ${range}`);
    if (value === undefined) settings[name] = fallback;
    else settings[name] = own === undefined ? value : withDefaults(value as object, own, path);
  }
  return settings as Settings<Table>;
}
