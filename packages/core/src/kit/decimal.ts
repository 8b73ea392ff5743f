/** What `increment` adds: a number, a bigint, or a decimal text such as `'-12.50'`. */
export type Amount = number | bigint | string;

/** `units` divided by ten to the power of `scale`. */
export interface Decimal {
  readonly units: bigint;
  readonly scale: number;
}

const DECIMAL = /^([+-]?)(\d{1,1000})(?:\.(\d{1,1000}))?(?:e([+-]\d{1,3}))?$/;

/** The number that an amount's shortest text names; `undefined` where it is none. Only numbers have exponents. */
export function decimalOf(amount: Amount): Decimal | undefined {
  if (typeof amount === 'bigint') return { units: amount, scale: 0 };
  if (typeof amount !== 'number' && typeof amount !== 'string') return undefined;
  // Most amounts are: their text need not be taken apart.
  if (Number.isSafeInteger(amount)) return { units: BigInt(amount), scale: 0 };
  const [, sign, whole = '', fraction = '', exponent] = DECIMAL.exec(String(amount)) ?? [];
  if (whole === '' || (exponent !== undefined && typeof amount !== 'number')) return undefined;
  const units = BigInt(`${sign === '-' ? '-' : ''}${whole}${fraction}`);
  const scale = fraction.length - Number(exponent ?? 0);
  return scale < 0 ? { units: units * 10n ** BigInt(-scale), scale: 0 } : { units, scale };
}

/** Exactly, with as many decimals as the one that has more. */
export function plus(one: Decimal, other: Decimal): Decimal {
  const scale = Math.max(one.scale, other.scale);
  return { units: unitsAt(one, scale) + unitsAt(other, scale), scale };
}

export function minus(one: Decimal, other: Decimal): Decimal {
  return plus(one, { ...other, units: -other.units });
}

function unitsAt({ scale, units }: Decimal, wanted: number): bigint {
  return units * 10n ** BigInt(wanted - scale);
}

export function decimalText({ scale, units }: Decimal): string {
  const digits = String(units < 0n ? -units : units).padStart(scale + 1, '0');
  const at = digits.length - scale;
  const text = scale === 0 ? digits : `${digits.slice(0, at)}.${digits.slice(at)}`;
  return units < 0n ? `-${text}` : text;
}

/**
 * What a field held after each of several terms but the last, as texts, given what it holds after all of them.
 * `undefined`: that is no number.
 */
export function stepsBefore(final: Amount, terms: readonly Amount[]): string[] | undefined {
  let at = decimalOf(final);
  const steps: string[] = [];
  for (let place = terms.length - 1; place > 0; place--) {
    const amount = decimalOf(terms[place] as Amount);
    if (at === undefined || amount === undefined) return undefined;
    at = minus(at, amount);
    steps.push(decimalText(at));
  }
  return steps.reverse();
}
