import type { ViewsSettings } from './settings.js';

/** The result that a run writes. */
export interface ViewsResult extends Pick<ViewsSettings, 'store' | 'cache' | 'kills' | 'seed'> {
  readonly control: ViewsSettings['control'] | null;
  readonly servers: Readonly<Record<string, string>>;
  /** Kills and faults of each kind. */
  readonly blows: Readonly<Record<string, number>>;
  /** Writes that were acknowledged with the cache in step. */
  readonly promised: number;
  /** States of rows that the database has recorded. */
  readonly states: number;
  readonly reads: number;
  readonly stale: number;
  readonly wrong: number;
  readonly lost: number;
  /** Views that differ from the database at the end. */
  readonly differing: number;
  /** Stale reads within a second of a failover to a primary that had less. */
  readonly excused: number;
  /** True when the run found nothing wrong. */
  readonly clean: boolean;
  readonly counts: Readonly<Record<string, number>>;
  readonly seconds: { readonly load: number; readonly settle: number };
  /** The first of each kind, in words. */
  readonly examples: Readonly<Record<string, readonly string[]>>;
}
