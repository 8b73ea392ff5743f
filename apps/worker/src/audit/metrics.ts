import { Counter, Gauge, type Registry } from 'prom-client';
import { type Auditor, SCALES_MS } from './auditor.js';

/** What the auditor found, asked for at each scrape. Keys are for the dashboard: they are no labels. */
export function auditMetrics(auditor: Auditor, registers: Registry[]): void {
  new Counter({
    name: 'lockstep_audit_checked_total',
    help: 'Entries that the auditor compared with their rows',
    registers,
    collect() {
      this.reset();
      this.inc(auditor.status.checked);
    },
  });
  new Counter({
    name: 'lockstep_audit_late_total',
    help: 'Of them: those that were still wrong so many seconds after that was first seen',
    labelNames: ['scale'],
    registers,
    collect() {
      this.reset();
      for (const [i, scaleMs] of SCALES_MS.entries()) {
        this.inc({ scale: String(scaleMs / 1_000) }, auditor.late[i] ?? 0);
      }
    },
  });
  new Gauge({
    name: 'lockstep_audit_consistency_ratio',
    help: 'The share of them that was right, or was within so many seconds, of the last hour',
    labelNames: ['scale'],
    registers,
    collect() {
      this.reset();
      for (const { scaleMs, share } of auditor.status.scales) {
        if (share !== null) this.set({ scale: String(scaleMs / 1_000) }, share);
      }
    },
  });
  new Gauge({
    name: 'lockstep_audit_stale_keys',
    help: 'Entries that are wrong, with nothing on its way that would mend them; at most 100',
    registers,
    collect() {
      this.set(auditor.status.open);
    },
  });
}
