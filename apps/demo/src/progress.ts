import type { FinalFigures, Percentiles } from './figures.js';
import type { Shop } from './supervisor/shop.js';

/** Writes a line on standard error at intervals. */
export function startProgress(shop: Shop, everyMs: number): { stop(): void } {
  const startMs = performance.now();
  let last = { reads: 0, writes: 0, atMs: startMs };
  const timer = setInterval(() => {
    const { figures } = shop;
    const atMs = performance.now();
    const seconds = (atMs - last.atMs) / 1_000;
    const line = [
      `${Math.round((atMs - startMs) / 1_000)} s`,
      `${Math.round((figures.reads - last.reads) / seconds)} reads/s`,
      `${Math.round((figures.writes - last.writes) / seconds)} writes/s`,
      `hits ${percent(figures.hitRate)}`,
      `stale ${figures.staleReads} of ${figures.checkedReads}`,
      `lists ${figures.staleViews} of ${figures.checkedViews}`,
      ...Object.entries(figures.faults).map(([name, count]) => `${name} ${count}`),
    ];
    process.stderr.write(`${line.join(' · ')}\n`);
    last = { reads: figures.reads, writes: figures.writes, atMs };
  }, everyMs);
  return { stop: () => clearInterval(timer) };
}

/** The outcome of a run, as text. */
export function summary(figures: FinalFigures): string {
  const faults = Object.entries(figures.faults).map(([name, count]) => `${name} ${count}`);
  const lines = [
    `${figures.engine} on ${figures.store}, ${figures.mix}, ${figures.seconds.toFixed(1)} s: ` +
      `${figures.reads} reads, ${figures.writes} writes, faults: ${faults.join(', ') || 'none'}`,
    `hits ${percent(figures.hitRate)}, ${figures.storeQueries} statements for reads: ` +
      `${percent(figures.storeLoadReduction)} less than without a cache`,
    `stale reads ${figures.staleReads} of ${figures.checkedReads}, failed reads ${figures.failedReads}, failed writes ${figures.failedWrites}, of them of unknown outcome ${figures.unknownWrites}`,
    `stale lists and pages ${figures.staleViews} of ${figures.checkedViews}, of them from the store ${figures.viewLoads}`,
    `read ${latency(figures.readMs)}; write ${latency(figures.writeMs)}; feed lag ${latency(figures.feedLagMs)}`,
    `audit: ${figures.auditedEntries} entries compared with their rows, ${figures.auditMismatches} differ`,
    ...figures.notes.map((note) => `note: ${note}`),
  ];
  return lines.join('\n');
}

function latency({ p50, p99, max, count }: Percentiles): string {
  if (count === 0) return 'none seen';
  return `p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, max ${max.toFixed(0)} ms`;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(2)} %`;
}
