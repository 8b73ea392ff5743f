import { CACHE_COMMANDS, type OperationKind } from './operation.js';

export interface TtlShare {
  readonly ttlMs: number;
  readonly share: number;
}

/** The shape of a load, whatever its rate. */
export interface Mix {
  readonly name: string;
  /** The share of reads among all operations, 0 to 1. */
  readonly readShare: number;
  /** Shares of the kinds of writes; they need not sum up to 1. Empty: there are only reads. */
  readonly writes: ReadonlyMap<OperationKind, number>;
  readonly zipfExponent: number;
  /** 0: descriptions as they come. */
  readonly valueBytes: number;
  /** Empty: the collection's own. */
  readonly ttls: readonly TtlShare[];
  /** The share of reads, and of writes, that go to the product that is on sale at the moment. */
  readonly saleShare: { readonly reads: number; readonly writes: number };
  /** The assumptions made where the source leaves something open. */
  readonly assumptions: readonly string[];
}

/** The classic scenario: a catalogue that is read a hundred times as often as written, with a sale going on. */
export const CATALOGUE_MIX: Mix = {
  name: 'catalogue',
  readShare: 10_000 / 10_100,
  writes: new Map<OperationKind, number>([
    ['stock', 0.55],
    ['patch', 0.23],
    ['put', 0.2],
    ['delete', 0.02],
  ]),
  zipfExponent: 0.99,
  valueBytes: 0,
  ttls: [],
  saleShare: { reads: 0.05, writes: 0.3 },
  assumptions: [],
};

/** Descriptions of large items are cut to this many bytes, so that a mix fits a small machine. */
export const MAX_VALUE_BYTES = 65_536;

/** The exponent where the source has none. */
const DEFAULT_ZIPF = 0.99;

const COLUMN = { cluster: 0, valueSize: 4, ttl: 9, operations: 12, zipf: 13 } as const;

/** All mixes of the table of production clusters that have an operation mix, by name. */
export function parseMixes(table: string): ReadonlyMap<string, Mix> {
  const mixes = new Map<string, Mix>();
  for (const line of table.split('\n')) {
    const cells = line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim());
    const name = cells[COLUMN.cluster] ?? '';
    if (!/^cluster\d+$/.test(name)) continue;
    const mix = mixOf(name, cells);
    if (mix !== undefined) mixes.set(name, mix);
  }
  return mixes;
}

function mixOf(name: string, cells: readonly string[]): Mix | undefined {
  const shares = new Map<OperationKind, number>();
  let sum = 0;
  for (const [command, share] of pairs(cells[COLUMN.operations] ?? '')) {
    const kind = CACHE_COMMANDS.get(command);
    if (kind === undefined) continue;
    shares.set(kind, (shares.get(kind) ?? 0) + share);
    sum += share;
  }
  if (sum === 0) return undefined;
  const assumptions: string[] = [];
  if (sum < 0.995) {
    // The table rounds and drops what is rare; what is missing beside a read share can only be writes.
    shares.set('put', (shares.get('put') ?? 0) + 1 - sum);
    assumptions.push(`operations sum up to ${sum.toFixed(2)}; the rest counts as set`);
  }
  const total = Math.max(1, sum);
  const zipf = Number(cells[COLUMN.zipf]);
  if (!Number.isFinite(zipf)) assumptions.push(`no Zipf exponent; ${DEFAULT_ZIPF} taken`);
  const size = Number(cells[COLUMN.valueSize]);
  const valueBytes = Number.isFinite(size) ? size : 0;
  if (valueBytes > MAX_VALUE_BYTES) assumptions.push(`values cut to ${MAX_VALUE_BYTES} bytes`);
  const readShare = (shares.get('read') ?? 0) / total;
  shares.delete('read');
  return {
    name,
    readShare,
    writes: shares,
    zipfExponent: Number.isFinite(zipf) ? zipf : DEFAULT_ZIPF,
    valueBytes: Math.min(valueBytes, MAX_VALUE_BYTES),
    ttls: parseTtls(cells[COLUMN.ttl] ?? ''),
    saleShare: { reads: 0, writes: 0 },
    assumptions,
  };
}

/** `get:0.93 set:0.07` */
function pairs(cell: string): [string, number][] {
  return [...cell.matchAll(/([a-z]+):(\d+(?:\.\d+)?)/g)].map((match) => [match[1] ?? '', Number(match[2])]);
}

const UNIT_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `60s:0.39, 1.5h:0.13,` */
function parseTtls(cell: string): TtlShare[] {
  return [...cell.matchAll(/(\d+(?:\.\d+)?)([smhd]):(\d+(?:\.\d+)?)/g)].map((match) => ({
    ttlMs: Math.round(Number(match[1]) * (UNIT_MS[match[2] ?? 's'] ?? 1_000)),
    share: Number(match[3]),
  }));
}
