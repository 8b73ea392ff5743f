import { InvalidOptionError } from '../errors.js';

/**
 * Throws `InvalidOptionError` for what is no object of options, and for a key that is not in `known`: a misspelt
 * option must not be ignored.
 */
export function checkKnown(options: object, known: readonly string[], where: string): void {
  if (typeof options !== 'object' || options === null) {
    throw new InvalidOptionError(where, `must be an object of options, got ${String(options)}`);
  }
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) {
      throw new InvalidOptionError(`${where}.${name}`, `unknown option; known are ${known.join(', ')}`);
    }
  }
}

export interface NumberRange {
  readonly min: number;
  readonly max: number;
  /** Whole numbers only. @defaultValue true */
  readonly integer?: boolean;
}

/** The option, or its default when absent. Throws `InvalidOptionError` naming it unless it is in range. */
export function numberOption(
  value: number | undefined,
  fallback: number,
  option: string,
  range: NumberRange,
): number {
  if (value === undefined) return fallback;
  const whole = range.integer ?? true;
  if (
    typeof value !== 'number' ||
    !(value >= range.min && value <= range.max) ||
    (whole && !Number.isInteger(value))
  ) {
    throw new InvalidOptionError(
      option,
      `must be ${whole ? 'a whole number' : 'a number'} from ${range.min} to ${range.max}, got ${String(value)}`,
    );
  }
  return value;
}

/** The option, or its default when absent. Throws `InvalidOptionError` naming it and its choices. */
export function choiceOption<const T extends string>(
  value: T | undefined,
  fallback: T,
  option: string,
  choices: readonly T[],
): T {
  if (value === undefined) return fallback;
  if (!choices.includes(value)) {
    throw new InvalidOptionError(option, `must be one of ${choices.join(', ')}, got ${String(value)}`);
  }
  return value;
}
