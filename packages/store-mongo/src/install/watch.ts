import type { CancelTimer, Clock, StoreOpenOptions } from '@lockstep/core';
import { isSameMapping, type KeyMapping, type SourceDocument, type SourceRecords } from './records.js';

/** How often the record of a collection that is in use is looked at. */
const EVERY_MS = 1_000;

export interface AttachmentWatchOptions {
  readonly mapping: KeyMapping;
  readonly records: Pick<SourceRecords, 'of'>;
  readonly clock: Clock;
  /** Told what is recorded, each time. */
  readonly onRecord: (record: SourceDocument | undefined) => void;
}

type OnKept = NonNullable<StoreOpenOptions['onKept']>;

/** Notices that an open collection was detached, or attached by another key: nobody keeps it in step then. */
export class AttachmentWatch {
  /** Set by each use, hits of the cache included: what nobody uses is not looked at. */
  used = false;
  readonly #options: AttachmentWatchOptions;
  #attached = true;
  #cancel: CancelTimer | undefined;
  readonly #onKept = new Set<OnKept>();

  constructor(options: AttachmentWatchOptions) {
    this.#options = options;
  }

  /** The collection was opened, and is attached. @param onKept told when it is no more, and when it is again */
  start(onKept: OnKept | undefined): void {
    if (onKept !== undefined) this.#onKept.add(onKept);
    this.#set(true);
    if (this.#cancel === undefined) this.#wait();
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#onKept.clear();
  }

  #wait(): void {
    this.#cancel = this.#options.clock.schedule(() => void this.#look(), EVERY_MS);
  }

  async #look(): Promise<void> {
    const looking = this.#cancel;
    if (this.used) {
      this.used = false;
      const { mapping, records } = this.#options;
      try {
        const record = await records.of(mapping.source);
        this.#options.onRecord(record);
        if (this.#cancel === looking) this.#set(isSameMapping(record, mapping));
      } catch {
        // Calls that need the database tell when it does not answer. It is looked at again.
        this.used = true;
      }
    }
    if (looking !== undefined && this.#cancel === looking) this.#wait();
  }

  #set(attached: boolean): void {
    if (attached === this.#attached) return;
    this.#attached = attached;
    const { source } = this.#options.mapping;
    const problem = attached
      ? ''
      : `${source} was detached, or attached by another key: nobody keeps it in step. Attach it again (mongo.attach(collection)), or take Lockstep out of the application.`;
    for (const onKept of this.#onKept) onKept(attached, problem);
    if (attached) return;
    process.emitWarning(problem, { type: 'LockstepWarning', code: 'LOCKSTEP_CHANGES_UNSEEN' });
  }
}
