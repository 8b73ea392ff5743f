import { createHash } from 'node:crypto';
import type { TableInfo } from './catalog.js';
import { identifier } from './quote.js';
import { SCHEMA } from './stamp.js';

/** The name of something of a table's in Lockstep's schema: within Postgres' 63 bytes, and no two tables share it. */
export function objectName(info: Pick<TableInfo, 'source'>, part: string): string {
  const readable = `${info.source}:${part}`;
  if (Buffer.byteLength(readable) <= 63) return `${SCHEMA}.${identifier(readable)}`;
  const digest = createHash('sha256').update(readable).digest('hex').slice(0, 40);
  return `${SCHEMA}.${identifier(`t_${digest}`)}`;
}
