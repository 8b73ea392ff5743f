import { Decimal128, Double, Int32, Long } from 'mongodb';

/** A number as it stands in a canonical key. */
export type CanonicalNumber = Int32 | Long | Double | Decimal128;

const INT32_MAX = 2n ** 31n - 1n;
const INT64_MAX = 2n ** 63n - 1n;
const DECIMAL = /^(-?)(\d*)(?:\.(\d*))?(?:E([+-]?\d+))?$/i;

/**
 * The one form of a number, whatever BSON type it came in: MongoDB compares numbers by value across
 * its four types, so 1, 1.0, NumberLong(1) and NumberDecimal("1.00") name one document.
 */
export function canonicalNumber(value: number | bigint | CanonicalNumber): CanonicalNumber {
  if (typeof value === 'bigint') return fromInteger(value);
  if (value instanceof Long) return fromInteger(value.toBigInt());
  if (value instanceof Decimal128) return fromDecimal(value);
  const double = typeof value === 'number' ? value : value.valueOf();
  return Number.isInteger(double) ? fromInteger(BigInt(double)) : new Double(double);
}

function fromInteger(value: bigint): CanonicalNumber {
  if (value >= -INT32_MAX - 1n && value <= INT32_MAX) return new Int32(Number(value));
  if (value >= -INT64_MAX - 1n && value <= INT64_MAX) return Long.fromBigInt(value);
  const double = Number(value);
  if (Number.isFinite(double) && BigInt(double) === value) return new Double(double);
  return decimalOf(value, 0);
}

function fromDecimal(value: Decimal128): CanonicalNumber {
  const text = value.toString();
  const match = DECIMAL.exec(text);
  if (match === null) return new Double(text.startsWith('-') ? -Infinity : text === 'NaN' ? NaN : Infinity);
  const [, sign, whole = '', fraction = '', exponentText = '0'] = match;
  let digits = BigInt(`${whole}${fraction}` || '0');
  if (digits === 0n) return new Int32(0);
  if (sign === '-') digits = -digits;
  let exponent = Number(exponentText) - fraction.length;
  while (digits % 10n === 0n) {
    digits /= 10n;
    exponent += 1;
  }
  // Beyond 10^310 no double is finite, and the integer would be too long to be worth making.
  if (exponent >= 0 && exponent < 310) return fromInteger(digits * 10n ** BigInt(exponent));
  const double = Number(text);
  return exponent < 0 && isExactly(double, digits, -exponent)
    ? new Double(double)
    : decimalOf(digits, exponent);
}

/** True when a double is exactly `digits / 10^scale`. A double is `mantissa / 2^power`. */
function isExactly(double: number, digits: bigint, scale: number): boolean {
  if (double === 0 || !Number.isFinite(double)) return false;
  let mantissa = double;
  let power = 0;
  while (!Number.isInteger(mantissa)) {
    mantissa *= 2;
    power += 1;
  }
  return BigInt(mantissa) * 10n ** BigInt(scale) === digits * 2n ** BigInt(power);
}

function decimalOf(digits: bigint, exponent: number): Decimal128 {
  return Decimal128.fromString(`${digits}E${exponent >= 0 ? '+' : ''}${exponent}`);
}
