import { isDeepStrictEqual } from 'node:util';
import type { CachedProduct, ShopEngine } from '../engines/engine.js';
import type { PlainStore } from '../stores/store.js';

/** The result of comparing every cached value with its row. */
export interface AuditReport {
  /** Values compared. */
  readonly entries: number;
  /** Keys that hold only a floor, which serve nothing. */
  readonly holes: number;
  readonly mismatches: number;
  /** The first of them. */
  readonly samples: readonly string[];
}

const BATCH = 500;
const SAMPLES = 10;

/**
 * Compares each entry with its row, once nothing writes any more and the feed is drained: a value must be
 * its row's, of its row's version; an absence must have no row.
 */
export async function audit(engine: ShopEngine, store: PlainStore): Promise<AuditReport> {
  let entries = 0;
  let holes = 0;
  let mismatches = 0;
  const samples: string[] = [];
  let batch: CachedProduct[] = [];

  async function compare(): Promise<void> {
    const rows = await store.read(batch.map(({ id }) => id));
    for (const [position, cached] of batch.entries()) {
      const row = rows[position];
      const same =
        cached.product === null
          ? row === undefined
          : row !== undefined &&
            cached.version === row.version &&
            isDeepStrictEqual(cached.product, row.product);
      if (same) continue;
      mismatches += 1;
      if (samples.length < SAMPLES) samples.push(describe(cached, row?.version));
    }
    batch = [];
  }

  // A scan may give an entry twice.
  const seen = new Set<number>();
  for await (const cached of engine.entries()) {
    if (seen.has(cached.id)) continue;
    seen.add(cached.id);
    if (cached.state === 'hole') {
      holes += 1;
      continue;
    }
    entries += 1;
    batch.push(cached);
    if (batch.length >= BATCH) await compare();
  }
  if (batch.length > 0) await compare();
  return { entries, holes, mismatches, samples };
}

function describe(cached: CachedProduct, version: number | undefined): string {
  const entry = cached.product === null ? 'absent' : `version ${cached.version}`;
  return `product ${cached.id}: cached ${entry}, row ${version === undefined ? 'absent' : `version ${version}`}`;
}
