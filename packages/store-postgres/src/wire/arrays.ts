/** The text form of a one-dimensional array parameter. */
export function arrayText(items: readonly (string | number)[]): string {
  let text = '{';
  for (let index = 0; index < items.length; index++) {
    const item = String(items[index]);
    const escaped = item.includes('"') || item.includes('\\') ? item.replace(/["\\]/g, '\\$&') : item;
    text += `${index === 0 ? '' : ','}"${escaped}"`;
  }
  return `${text}}`;
}

const TEXT_OID = 25;
const HEADER = 20;

/**
 * A `text[]` parameter in binary form, which the server reads without parsing: dimensions, whether there
 * are nulls, the elements' type, length, lower bound; then each element behind its length, -1 for a null
 * (`array_send` in Postgres' own source).
 */
export function textArray(items: readonly (string | null)[]): Buffer {
  let size = HEADER;
  let nulls = 0;
  for (const item of items) {
    size += 4;
    if (item === null) nulls = 1;
    else size += Buffer.byteLength(item);
  }
  const buffer = Buffer.allocUnsafe(size);
  buffer.writeInt32BE(items.length === 0 ? 0 : 1, 0);
  buffer.writeInt32BE(nulls, 4);
  buffer.writeInt32BE(TEXT_OID, 8);
  buffer.writeInt32BE(items.length, 12);
  buffer.writeInt32BE(1, 16);
  let at = HEADER;
  for (const item of items) {
    const length = item === null ? -1 : buffer.write(item, at + 4);
    buffer.writeInt32BE(length, at);
    at += 4 + Math.max(0, length);
  }
  return buffer;
}
