/** Most replies of many reads fit, whose calls ask for about 256 kB (core's `cache/client.ts`). */
const FIRST_BYTES = 2 ** 19;
/** What it grows to; longer replies get memory of their own. */
const MAX_BYTES = 2 ** 20;

let scratch: Buffer | undefined;

/**
 * The parts in one piece. Fresh memory for each would cost more than the copying: large pieces come from the system page by
 * page, and hasten garbage collections.
 *
 * @param keep false: its next caller may write there
 */
export function joined(parts: readonly Buffer[], keep: boolean): Buffer {
  let length = 0;
  for (const part of parts) length += part.length;
  if (keep || length > MAX_BYTES) return Buffer.concat(parts, length);
  if (scratch === undefined || scratch.length < length) {
    scratch = Buffer.allocUnsafeSlow(length > FIRST_BYTES ? MAX_BYTES : FIRST_BYTES);
  }
  let at = 0;
  for (const part of parts) {
    scratch.set(part, at);
    at += part.length;
  }
  return scratch.subarray(0, length);
}
