import { createHash } from 'node:crypto';

/** The longest value of a declared column that is told as it is, in bytes of UTF-8. */
export const MAX_DECLARED_BYTES = 500;

/**
 * The text of a declared column's value, by the value's canonical text: that with an equals sign before it, or the hash of
 * a long one behind a number sign. Stores that make it in their server must make the same.
 */
export function declaredText(canonical: string): string {
  // Three bytes are the most that one UTF-16 code unit takes.
  const isShort =
    canonical.length * 3 <= MAX_DECLARED_BYTES || Buffer.byteLength(canonical) <= MAX_DECLARED_BYTES;
  return isShort ? `=${canonical}` : `#${createHash('sha256').update(canonical).digest('hex')}`;
}

/** The canonical text again; `undefined`: it was too long. */
export function canonicalOf(text: string): string | undefined {
  return text.startsWith('=') ? text.slice(1) : undefined;
}
