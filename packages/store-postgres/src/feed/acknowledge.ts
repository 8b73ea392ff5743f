import type { Change, Clock } from '@lockstep/core';
import { arrayText } from '../sql/quote.js';
import { type Statement, statement } from '../wire/pipeline.js';
import type { Session } from '../wire/session.js';
import type { ResolvedFeedOptions } from './options.js';

const BATCH = 1000;

/** Rows that a consumer holds are left to it: waiting for it would hold up everyone's acknowledgements. */
const ACKNOWLEDGE = `DELETE FROM lockstep.outbox o USING (
  SELECT c.version, c.id FROM unnest($1::int8[], $2::text[], $3::text[]) AS a(version, source, key)
  JOIN lockstep.outbox c ON c.version = a.version AND c.source = a.source AND c.key = a.key
  ORDER BY c.version, c.id FOR UPDATE OF c SKIP LOCKED
) d WHERE o.version = d.version AND o.id = d.id`;

type Acknowledgement = Pick<Change, 'source' | 'key' | 'version'>;

/** Removes the outbox rows of writers that dealt with them: gathered, in the background, at best effort. */
export class Acknowledger {
  readonly #session: Session;
  readonly #clock: Clock;
  readonly #options: ResolvedFeedOptions;
  readonly #statement: Statement;
  readonly #prepared: boolean;
  #waiting: Acknowledgement[] = [];
  #scheduled = false;
  #running: Promise<void> | undefined;

  constructor(session: Session, clock: Clock, options: ResolvedFeedOptions, prepared: boolean) {
    this.#session = session;
    this.#clock = clock;
    this.#options = options;
    this.#prepared = prepared;
    this.#statement = statement(ACKNOWLEDGE, prepared);
  }

  add(changes: readonly Acknowledgement[]): void {
    for (const change of changes) this.#waiting.push(change);
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
            {
              statement: this.#statement,
              values: [
                arrayText(batch.map((change) => change.version)),
                arrayText(batch.map((change) => change.source)),
                arrayText(batch.map((change) => change.key)),
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
