/** How soon after it was first seen a difference has to be gone, in ms. */
export const SCALES_MS = [1_000, 60_000, 300_000] as const;

const BUCKET_MS = 60_000;
/** An hour. */
const BUCKETS = 60;

/** The share of looks that found an entry as the store has it, or found it so within the scale. */
export interface ScaleConsistency {
  readonly scaleMs: number;
  /** Entries that were still wrong after so long. */
  readonly late: number;
  /** 1: none was. `null`: nothing was looked at. */
  readonly share: number | null;
  /** How many nines that is; as many as the looks allow to say where none was late. `null`: nothing was looked at. */
  readonly nines: number | null;
}

interface Bucket {
  readonly startMs: number;
  checked: number;
  readonly late: number[];
}

/** Counts looks and differences, of the last hour and since the start. */
export class ConsistencyCounts {
  #buckets: Bucket[] = [];
  checked = 0;
  readonly late: number[] = SCALES_MS.map(() => 0);

  noteChecked(count: number, nowMs: number): void {
    this.checked += count;
    this.#bucket(nowMs).checked += count;
  }

  noteLate(scale: number, nowMs: number): void {
    this.late[scale] = (this.late[scale] ?? 0) + 1;
    const { late } = this.#bucket(nowMs);
    late[scale] = (late[scale] ?? 0) + 1;
  }

  /** Of the last hour. */
  scales(nowMs: number): readonly ScaleConsistency[] {
    const recent = this.#buckets.filter(({ startMs }) => startMs > nowMs - BUCKETS * BUCKET_MS);
    const checked = recent.reduce((sum, bucket) => sum + bucket.checked, 0);
    return SCALES_MS.map((scaleMs, scale) => {
      const late = recent.reduce((sum, bucket) => sum + (bucket.late[scale] ?? 0), 0);
      if (checked === 0) return { scaleMs, late, share: null, nines: null };
      const share = Math.max(0, 1 - late / checked);
      return { scaleMs, late, share, nines: ninesOf(late, checked) };
    });
  }

  #bucket(nowMs: number): Bucket {
    const startMs = Math.floor(nowMs / BUCKET_MS) * BUCKET_MS;
    const newest = this.#buckets.at(-1);
    if (newest !== undefined && newest.startMs >= startMs) return newest;
    const bucket = { startMs, checked: 0, late: SCALES_MS.map(() => 0) };
    this.#buckets = [...this.#buckets.slice(1 - BUCKETS), bucket];
    return bucket;
  }
}

/** 0.999: three. Without a difference among 1,000 looks, three can be said, and no more. Never rounded up. */
function ninesOf(late: number, checked: number): number {
  const nines = -Math.log10(Math.max(late, 1) / checked);
  return Math.floor(Math.max(0, nines) * 10) / 10;
}
