import type { IncrementOptions } from '../contracts/options.js';
import { InvalidOptionError, StoreRefusedError } from '../errors.js';
import { type Amount, type Decimal, decimalOf, decimalText, minus, plus } from '../kit/decimal.js';
import { isProperties } from '../values/difference.js';

export interface SumOf {
  readonly collection: string;
  readonly key: string;
  readonly field: string;
  readonly by: Amount;
}

/** Throws `InvalidOptionError` for bounds that no number is between. */
export function checkBounds({ max, min }: IncrementOptions): void {
  if (min === undefined || max === undefined || !isBelow(max, min)) return;
  throw new InvalidOptionError('options.min', `must not be above max: ${min} is above ${max}`);
}

/** The row with an amount added to one of its fields, exactly. Throws `StoreRefusedError` where that passes a bound. */
export function withinBounds<Value>(row: Value, sum: SumOf, { max, min }: IncrementOptions): Value {
  const { by, collection, field, key } = sum;
  const refused = (problem: string): StoreRefusedError =>
    new StoreRefusedError(`collection "${collection}": increment of "${field}" of "${key}": ${problem}`, {
      collection,
      key,
    });
  const held: unknown = isProperties(row) && Object.hasOwn(row, field) ? row[field] : undefined;
  const next = added(held, by);
  if (next === undefined) throw refused(`it holds ${typeof held}, and ${by} can't be added to it`);
  if (min !== undefined && isBelow(next, min)) throw refused(`${next} would be below ${min} (min)`);
  if (max !== undefined && isBelow(max, next)) throw refused(`${next} would be above ${max} (max)`);
  return { ...row, [field]: next };
}

/** The sum, of the field's own kind: a number, a bigint or a decimal text. `undefined`: it holds none, or the sum is none. */
function added(held: unknown, by: Amount): Amount | undefined {
  if (typeof held !== 'number' && typeof held !== 'bigint' && typeof held !== 'string') return undefined;
  const [one, other] = [decimalOf(held), decimalOf(by)];
  if (one === undefined || other === undefined) return undefined;
  const sum = plus(one, other);
  if (typeof held === 'string') return decimalText(sum);
  if (typeof held === 'bigint') return sum.scale === 0 ? sum.units : undefined;
  const number = Number(decimalText(sum));
  return Number.isFinite(number) ? number : undefined;
}

function isBelow(one: Amount, other: Amount): boolean {
  return minus(decimalOf(one) as Decimal, decimalOf(other) as Decimal).units < 0n;
}
