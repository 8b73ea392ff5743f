import type { Rates } from '../messages.js';
import type { Recorder } from '../supervisor/recorder.js';
import type { Shop } from '../supervisor/shop.js';

/** The parts that the page shows and acts upon, once everything has started. */
export interface PageContent {
  readonly shop: Shop;
  readonly recorder: Recorder;
  /** The load apart from bursts. */
  readonly rates: Rates;
  /** The mix's name, or the trace's file. */
  readonly mix: string;
}
