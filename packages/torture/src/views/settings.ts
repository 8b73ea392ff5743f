import type { Identity } from '../processes/slot.js';
import type { ViewsControl } from './controls/names.js';

export type ViewsStoreName = 'postgres' | 'mongo';
export type CacheKind = 'standalone' | 'sentinel' | 'cluster';

/** The settings of one run. */
export interface ViewsSettings {
  readonly kills: number;
  readonly store: ViewsStoreName;
  readonly cache: CacheKind;
  readonly control: ViewsControl | undefined;
  readonly seed: number;
  /** Where to write what the checker was given. */
  readonly history: string | undefined;
}

interface Address {
  readonly host: string;
  readonly port: number;
}

/** How processes find the cache. */
export type CacheAddress =
  | { readonly kind: 'standalone'; readonly url: string }
  | { readonly kind: 'sentinel'; readonly name: string; readonly sentinels: readonly Address[] }
  | { readonly kind: 'cluster'; readonly nodes: readonly Address[] };

/** The settings that every process of the run gets. */
export interface ViewsPartySettings {
  readonly store: ViewsStoreName;
  readonly storeUrl: string;
  readonly cache: CacheAddress;
  readonly control: ViewsControl | undefined;
}

/** The settings that a child gets. */
export interface ViewsChildSettings extends Identity, ViewsPartySettings {}
