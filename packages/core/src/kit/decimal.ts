/** The operand of `increment`: a number, a bigint, or a decimal text such as `'-12.50'`. */
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
  // Most amounts are integers: their text need not be parsed.
  if (Number.isSafeInteger(amount)) return { units: BigInt(amount), scale: 0 };
  const [, sign, whole = '', fraction = '', exponent] = DECIMAL.exec(String(amount)) ?? [];
  if (whole === '' || (exponent !== undefined && typeof amount !== 'number')) return undefined;
  const units = BigInt(`${sign === '-' ? '-' : ''}${whole}${fraction}`);
  const scale = fraction.length - Number(exponent ?? 0);
  return scale < 0 ? { units: units * 10n ** BigInt(-scale), scale: 0 } : { units, scale };
}

/** True for what names a number. */
export function isAmount(amount: Amount): boolean {
  return Number.isSafeInteger(amount) || decimalOf(amount) !== undefined;
}

/** True for an amount without decimals. */
export function isWhole(amount: Amount): boolean {
  return Number.isSafeInteger(amount) || decimalOf(amount)?.scale === 0;
}

/** Exactly, with as many decimals as the one that has more. */
export function plus(one: Decimal, other: Decimal): Decimal {
  const scale = Math.max(one.scale, other.scale);
  return { units: unitsAt(one, scale) + unitsAt(other, scale), scale };
}

export function minus(one: Decimal, other: Decimal): Decimal {
  return plus(one, { ...other, units: -other.units });
}

/** False when one is above zero and the other below. */
export function haveOneSign(one: Amount, other: Amount): boolean {
  const [first, second] = [signOf(one), signOf(other)];
  return first === 0 || second === 0 || first === second;
}

function signOf(amount: Amount): number {
  if (typeof amount === 'number') return Math.sign(amount);
  const { units } = decimalOf(amount) as Decimal;
  return units === 0n ? 0 : units < 0n ? -1 : 1;
}

/** The exact sum of two amounts: a number where that is a safe integer. */
export function sumOf(one: Amount, other: Amount): Amount {
  // Most are integers. A safe sum was not rounded.
  if (Number.isSafeInteger(one) && Number.isSafeInteger(other)) {
    const sum = (one as number) + (other as number);
    if (Number.isSafeInteger(sum)) return sum;
  }
  const { scale, units } = plus(decimalOf(one) as Decimal, decimalOf(other) as Decimal);
  const whole = Number(units);
  return scale === 0 && Number.isSafeInteger(whole) ? whole : decimalText({ scale, units });
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
 * The values of a field after each of several terms but the last, as texts, from its value after all of them.
 * `undefined`: that is no number.
 */
export function stepsBefore(final: Amount, terms: readonly Amount[]): string[] | undefined {
  return integersBefore(final, terms) ?? decimalsBefore(final, terms);
}

/** As `stepsBefore`, where all are safe integers. */
function integersBefore(final: Amount, terms: readonly Amount[]): string[] | undefined {
  let at = Number(final);
  if (!Number.isSafeInteger(at) || String(at) !== String(final)) return undefined;
  const steps: string[] = new Array(terms.length - 1);
  for (let place = terms.length - 1; place > 0; place--) {
    const term = terms[place];
    if (!Number.isSafeInteger(term)) return undefined;
    at -= term as number;
    if (!Number.isSafeInteger(at)) return undefined;
    steps[place - 1] = String(at);
  }
  return steps;
}

function decimalsBefore(final: Amount, terms: readonly Amount[]): string[] | undefined {
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
