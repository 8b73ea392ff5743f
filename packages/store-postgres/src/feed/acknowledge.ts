import type { Clock } from '@lockstep/core';
import { SET_SAFE_PATH } from '../sql/stamp.js';
import { arrayText } from '../wire/arrays.js';
import { type Statement, statement } from '../wire/pipeline.js';
import type { Session } from '../wire/session.js';
import type { ResolvedFeedOptions } from './options.js';
import { type Acknowledgement, type OutboxRow, type RecordedChange, Together } from './together.js';

const BATCH = 1000;

/** Rows that a consumer holds are left to it: waiting for it would hold up everyone's acknowledgements. */
const ACKNOWLEDGE = `DELETE FROM lockstep.outbox WHERE ctid = ANY (ARRAY(
  SELECT c.ctid FROM unnest($1::pg_catalog.int8[], $2::pg_catalog.text[], $3::pg_catalog.text[], $4::pg_catalog.bool[]) AS a(version, source, key, together)
  CROSS JOIN LATERAL (
    SELECT o.ctid FROM lockstep.outbox o
    WHERE o.version = a.version AND o.source = a.source AND o.key = a.key AND (o.keys IS NOT NULL) = a.together
    FOR UPDATE SKIP LOCKED
  ) c
))`;

/**
 * A crash may forget an acknowledgement; waiting for the disk would cost the writers. And a plan made
 * while the outbox was empty must not become a scan of a full one.
 */
const SETTINGS = `SELECT ${SET_SAFE_PATH}, pg_catalog.set_config('synchronous_commit', 'off', true), pg_catalog.set_config('enable_seqscan', 'off', true)`;

/** Removes the outbox rows of writers that dealt with them: gathered, in the background, at best effort. */
export class Acknowledger {
  readonly #session: Session;
  readonly #clock: Clock;
  readonly #options: ResolvedFeedOptions;
  readonly #statement: Statement;
  readonly #settings: Statement;
  readonly #prepared: boolean;
  readonly #together: Together;
  #waiting: OutboxRow[] = [];
  #scheduled = false;
  #running: Promise<void> | undefined;

  constructor(session: Session, clock: Clock, options: ResolvedFeedOptions, prepared: boolean) {
    this.#session = session;
    this.#clock = clock;
    this.#options = options;
    this.#prepared = prepared;
    this.#together = new Together(options.maxAcknowledgements);
    this.#statement = statement(ACKNOWLEDGE, prepared);
    this.#settings = statement(SETTINGS, prepared);
  }

  /** Of changes that one row records. */
  recordedTogether(source: string, changes: readonly RecordedChange[]): void {
    this.#together.add(source, changes);
  }

  add(changes: readonly Acknowledgement[]): void {
    for (const change of changes) {
      const row = this.#together.take(change);
      if (row !== undefined) this.#waiting.push(row);
    }
    if (this.#waiting.length === 0) return;
    const excess = this.#waiting.length - this.#options.maxAcknowledgements;
    if (excess > 0) this.#waiting.splice(0, excess);
    if (this.#scheduled || this.#running !== undefined) return;
    this.#scheduled = true;
    this.#clock.schedule(() => {
      this.#scheduled = false;
      void this.flush();
    }, this.#options.acknowledgeMs);
  }

  /** Sends what waits. Never rejects. */
  flush(): Promise<void> {
    this.#running ??= this.#drain().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, BATCH);
      try {
        await this.#session.send(
          [
            { statement: this.#settings, values: [] },
            {
              statement: this.#statement,
              values: [
                arrayText(batch.map((row) => row.version)),
                arrayText(batch.map((row) => row.source)),
                arrayText(batch.map((row) => row.key)),
                arrayText(batch.map((row) => String(row.together))),
              ],
            },
          ],
          {
            deadline: this.#session.deadline(this.#options.statementTimeoutMs),
            what: 'acknowledge',
            readOnly: false,
            prepared: this.#prepared,
          },
        );
      } catch {
        // Consumers will find these rows, and invalidate once more than needed.
        return;
      }
    }
  }
}
