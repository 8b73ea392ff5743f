import type { Clock, ConsumerState } from '@lockstep/core';
import { SET_SAFE_PATH } from '../sql/stamp.js';
import { arrayText } from '../wire/arrays.js';
import { type Statement, statement } from '../wire/pipeline.js';
import type { Session } from '../wire/session.js';
import type { ResolvedFeedOptions } from './options.js';
import {
  type Acknowledgement,
  type OutboxRow,
  type RecordedChange,
  SharedOutboxRows,
} from './shared-rows.js';

const BATCH = 1000;

/** Rows that are acknowledged under states of which a condition holds. */
const acknowledged = (condition: string, columns: string, found: string): string => `SELECT ${columns}
  FROM unnest($1::pg_catalog.int8[], $2::pg_catalog.text[], $3::pg_catalog.bool[], $4::pg_catalog.int8[]) AS a(version, key, shared, state)
  JOIN s ON s.n = a.state AND ${condition}
  CROSS JOIN LATERAL (
    SELECT o.ctid, o.done FROM lockstep.outbox o
    WHERE o.version = a.version AND o.source = s.source AND o.key = a.key AND (o.keys IS NOT NULL) = a.shared
    ${found}
  ) o`;

/**
 * Removes nothing under a state that is over. Rows that a consumer holds are left to it: waiting for it would hold up
 * everyone's acknowledgements. A row that other consumers have to deal with notes who has done so. Where there are no
 * others rows are not locked first, which would log each once more: a row that nobody holds has no `xmax`.
 */
const ACKNOWLEDGE = `WITH s AS MATERIALIZED (
  SELECT s.n, s.source, s.consumer, ARRAY(
    SELECT o.consumer FROM lockstep.consumer o WHERE o.source = s.source AND o.consumer <> s.consumer
  ) AS others
  FROM unnest($5::pg_catalog.text[], $6::pg_catalog.text[], $7::pg_catalog.int8[], $8::pg_catalog.int8[]) WITH ORDINALITY AS s(source, consumer, revision, epoch, n)
  LEFT JOIN lockstep.consumer c ON c.source = s.source AND c.consumer = s.consumer AND c.revision = s.revision AND c.epoch = s.epoch
  WHERE s.consumer = '' OR c.consumer IS NOT NULL
), alone AS (
  ${acknowledged("s.others = '{}'", 'o.ctid AS place', "AND o.xmax = '0'::pg_catalog.xid OFFSET 0")}
), c AS MATERIALIZED (
  ${acknowledged("s.others <> '{}'", "o.ctid AS place, s.consumer, s.consumer = '' OR s.others <@ coalesce(o.done, '{}') AS last", 'FOR UPDATE SKIP LOCKED')}
), noted AS (
  UPDATE lockstep.outbox o SET done = coalesce(o.done, '{}') || (SELECT c.consumer FROM c WHERE c.place = o.ctid LIMIT 1)
  WHERE o.ctid = ANY (ARRAY(SELECT place FROM c WHERE NOT last))
)
DELETE FROM lockstep.outbox WHERE ctid = ANY (ARRAY(SELECT place FROM alone UNION ALL SELECT place FROM c WHERE last))`;

/** For the case that a consumer takes a row between the look at it and its removal: consumers get what is not removed. */
const LOCK_TIMEOUT_MS = 20;

/**
 * A crash may forget an acknowledgement; waiting for the disk would cost the writers. And a plan made
 * while the outbox was empty must not become a scan of a full one. The server would plan anew for each batch, in twice
 * the time that it takes to carry it out, and come to the same plan.
 */
const SETTINGS = `SELECT ${SET_SAFE_PATH}, pg_catalog.set_config('synchronous_commit', 'off', true), pg_catalog.set_config('enable_seqscan', 'off', true), pg_catalog.set_config('plan_cache_mode', 'force_generic_plan', true), pg_catalog.set_config('lock_timeout', '${LOCK_TIMEOUT_MS}', true)`;

/** An acknowledged row that waits to be removed, and the state under which it was dealt with. */
class Waiting {
  readonly row: OutboxRow;
  readonly under: ConsumerState | undefined;

  constructor(row: OutboxRow, under: ConsumerState | undefined) {
    this.row = row;
    this.under = under;
  }
}

/** The states that a batch's rows were dealt with under: mostly one for each table. */
class States {
  readonly #numbers = new Map<ConsumerState | string, number>();

  /** Counts from one. Without a state, whoever deals with a row removes it. */
  numberOf(source: string, under: ConsumerState | undefined): number {
    const state = under ?? source;
    const number = this.#numbers.get(state) ?? this.#numbers.size + 1;
    this.#numbers.set(state, number);
    return number;
  }

  values(): string[] {
    const states = [...this.#numbers.keys()].map((state) =>
      typeof state === 'string' ? { source: state, consumer: '', revision: 0, epoch: 0 } : state,
    );
    return [
      arrayText(states.map(({ source }) => source)),
      arrayText(states.map(({ consumer }) => consumer)),
      arrayText(states.map(({ revision }) => revision)),
      arrayText(states.map(({ epoch }) => epoch)),
    ];
  }
}

/** Removes the outbox rows of writers that dealt with them: gathered, in the background, at best effort. */
export class Acknowledger {
  readonly #session: Session;
  readonly #clock: Clock;
  readonly #options: ResolvedFeedOptions;
  readonly #statement: Statement;
  readonly #settings: Statement;
  readonly #prepared: boolean;
  readonly #sharedRows: SharedOutboxRows;
  #waiting: Waiting[] = [];
  #scheduled = false;
  #running: Promise<void> | undefined;

  constructor(session: Session, clock: Clock, options: ResolvedFeedOptions, prepared: boolean) {
    this.#session = session;
    this.#clock = clock;
    this.#options = options;
    this.#prepared = prepared;
    this.#sharedRows = new SharedOutboxRows(options.maxAcknowledgements);
    this.#statement = statement(ACKNOWLEDGE, prepared);
    this.#settings = statement(SETTINGS, prepared);
  }

  /** Notes changes that one row records. */
  recordedTogether(source: string, changes: readonly RecordedChange[]): void {
    this.#sharedRows.add(source, changes);
  }

  add(changes: readonly Acknowledgement[], under: ConsumerState | undefined): void {
    for (const change of changes) {
      const row = this.#sharedRows.take(change);
      if (row !== undefined) this.#waiting.push(new Waiting(row, under));
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
      const states = new States();
      const numbers = batch.map(({ row, under }) => states.numberOf(row.source, under));
      try {
        await this.#session.send(
          [
            { statement: this.#settings, values: [] },
            {
              statement: this.#statement,
              values: [
                arrayText(batch.map(({ row }) => row.version)),
                arrayText(batch.map(({ row }) => row.key)),
                arrayText(batch.map(({ row }) => String(row.shared))),
                arrayText(numbers),
                ...states.values(),
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
