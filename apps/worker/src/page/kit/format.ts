const WHOLE = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

export function whole(value: number): string {
  return WHOLE.format(value);
}

/** Few digits, whatever the size. */
export function short(value: number): string {
  if (value >= 100) return WHOLE.format(value);
  return value.toFixed(value >= 10 ? 1 : 2);
}

/** A share as per cent, never rounded up to all. */
export function percent(share: number): string {
  return (Math.floor(share * 10_000) / 100).toFixed(2);
}

export function clock(seconds: number): string {
  const rest = String(Math.floor(seconds % 60)).padStart(2, '0');
  return `${Math.floor(seconds / 60)}:${rest}`;
}
