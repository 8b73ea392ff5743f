import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { MAX_VALUE_BYTES } from './mix.js';
import { CACHE_COMMANDS, type Operation, type OperationKind } from './operation.js';

/** Lines read at most; the rest of a longer file is left out, and `truncated` says so. */
export const MAX_TRACE_LINES = 2_000_000;

const KINDS = ['read', 'put', 'patch', 'stock', 'delete'] as const satisfies readonly OperationKind[];

/** A recorded load: operations in their order. */
export interface Trace {
  readonly length: number;
  /** How many different keys it names. They become products in the order in which they appear. */
  readonly keys: number;
  readonly readShare: number;
  /** Requests per second by its own timestamps. */
  readonly ratePerSecond: number;
  readonly truncated: boolean;
  /** The operation at a position, with keys folded onto `products` products. */
  operation(position: number, products: number): Operation;
}

/** Thrown when a line is not in the format; names file and line. */
export class TraceFormatError extends Error {
  override readonly name = 'TraceFormatError';
}

/**
 * Reads a trace in the CSV format of twitter/cache-trace, without a heading: timestamp (s), anonymized key,
 * key size, value size, client id, operation, TTL (s, 0 for reads). Keys may hold commas. Rejects with
 * `TraceFormatError`, or with the file's own error.
 */
export async function readTrace(path: string, maxLines = MAX_TRACE_LINES): Promise<Trace> {
  const indexes = new Map<string, number>();
  const kinds: number[] = [];
  const keys: number[] = [];
  const sizes: number[] = [];
  const ttls: number[] = [];
  let first = Number.NaN;
  let last = Number.NaN;
  let reads = 0;
  let number = 0;
  let truncated = false;
  const input = createReadStream(path, { encoding: 'utf8' });
  for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
    number += 1;
    if (line === '') continue;
    if (kinds.length >= maxLines) {
      truncated = true;
      input.destroy();
      break;
    }
    const row = parseLine(line, `${path}:${number}`);
    let key = indexes.get(row.key);
    if (key === undefined) {
      key = indexes.size;
      indexes.set(row.key, key);
    }
    kinds.push(KINDS.indexOf(row.kind));
    keys.push(key);
    sizes.push(row.kind === 'read' ? 0 : Math.min(row.valueBytes, MAX_VALUE_BYTES));
    ttls.push(row.ttlMs);
    if (row.kind === 'read') reads += 1;
    if (Number.isNaN(first)) first = row.timestamp;
    last = row.timestamp;
  }
  if (kinds.length === 0) throw new TraceFormatError(`${path}: no requests in it`);
  const columns = {
    kinds: Uint8Array.from(kinds),
    keys: Uint32Array.from(keys),
    sizes: Uint32Array.from(sizes),
    ttls: Float64Array.from(ttls),
  };
  return {
    length: kinds.length,
    keys: indexes.size,
    readShare: reads / kinds.length,
    // Timestamps are whole seconds: the last one's second counts, too.
    ratePerSecond: kinds.length / Math.max(1, last - first + 1),
    truncated,
    operation(position, products) {
      const at = position % columns.kinds.length;
      return {
        kind: KINDS[columns.kinds[at] ?? 0] ?? 'read',
        index: (columns.keys[at] ?? 0) % products,
        valueBytes: columns.sizes[at] ?? 0,
        ttlMs: columns.ttls[at] ?? 0,
      };
    },
  };
}

interface TraceLine {
  readonly timestamp: number;
  readonly key: string;
  readonly valueBytes: number;
  readonly kind: OperationKind;
  readonly ttlMs: number;
}

function parseLine(line: string, where: string): TraceLine {
  const cells = line.split(',');
  // Five columns follow the key, whatever the key holds.
  const [keySize, valueSize, , command, ttl] = cells.slice(-5);
  const timestamp = Number(cells[0]);
  const key = cells.slice(1, -5).join(',');
  if (cells.length < 7 || key === '') {
    throw new TraceFormatError(
      `${where}: expected 7 columns (timestamp,key,key size,value size,client,operation,TTL)`,
    );
  }
  const kind = CACHE_COMMANDS.get(command ?? '');
  if (kind === undefined) throw new TraceFormatError(`${where}: unknown operation "${command}"`);
  for (const [name, value] of [
    ['timestamp', timestamp],
    ['key size', Number(keySize)],
    ['value size', Number(valueSize)],
    ['TTL', Number(ttl)],
  ] as const) {
    if (!(value >= 0 && Number.isFinite(value)))
      throw new TraceFormatError(`${where}: ${name} is not a number`);
  }
  return { timestamp, key, valueBytes: Number(valueSize), kind, ttlMs: Math.round(Number(ttl) * 1000) };
}
