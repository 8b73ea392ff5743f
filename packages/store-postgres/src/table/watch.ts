import { type Clock, InvalidOptionError } from '@lockstep/core';
import type { TableInfo } from '../sql/catalog.js';
import { holds } from './shape.js';

/** How often a table that is in use is looked at again, and how often one that is not kept in step. */
const EVERY_MS = 10_000;
const AGAIN_MS = 1_000;

export interface TableWatchOptions {
  readonly clock: Clock;
  /** Describes the table, and why it is not kept in step, if it is not. */
  readonly look: () => Promise<{ readonly info: TableInfo; readonly problem: string }>;
  /** Told when the user's triggers or what is declared are others than before, or known columns are gone or others. */
  readonly changed: (info: TableInfo) => void;
}

/**
 * Notices what happens to an open table: columns that are altered, triggers that the user adds or takes away, and whatever keeps changes from
 * being seen (another table under its name, Lockstep's triggers gone or disabled), which it warns about by name.
 */
export class TableWatch {
  readonly #options: TableWatchOptions;
  #known: TableInfo;
  #nextMs: number;
  #warned = '';

  constructor(known: TableInfo, options: TableWatchOptions) {
    this.#known = known;
    this.#options = options;
    this.#nextMs = options.clock.monotonic() + EVERY_MS;
    this.#warn(problemOf(known, known));
  }

  /** Called by each use. Looks in the background when it is time. */
  touch(): void {
    const now = this.#options.clock.monotonic();
    if (now < this.#nextMs) return;
    this.#nextMs = now + EVERY_MS;
    void this.#look();
  }

  /** The table was described elsewhere. */
  knows(info: TableInfo): void {
    this.#known = info;
  }

  /** The table is not kept in step any more, because of a problem, or is again. */
  keeps(info: TableInfo, problem: string): void {
    this.#known = info;
    const everyMs = problem === '' ? EVERY_MS : AGAIN_MS;
    this.#nextMs = this.#options.clock.monotonic() + everyMs;
    this.#warn(
      problem === ''
        ? ''
        : `${info.source} is not kept in step any more, and nothing of it is cached: ${problem}`,
    );
  }

  async #look(): Promise<void> {
    try {
      const { info, problem } = await this.#options.look();
      if (problem !== '') {
        this.#nextMs = Math.min(this.#nextMs, this.#options.clock.monotonic() + AGAIN_MS);
        return;
      }
      this.#warn(problemOf(info, this.#known));
      if (!holds(info, this.#known.columns) || !isDeclaredLike(info, this.#known)) {
        this.#known = info;
        this.#options.changed(info);
        return;
      }
      const { deletesItself, markedFor, stampsItself, userTriggers } = info;
      const known = this.#known;
      const before = [known.deletesItself, known.markedFor, known.stampsItself, known.userTriggers];
      const now = [deletesItself, markedFor, stampsItself, userTriggers];
      if (JSON.stringify(now) === JSON.stringify(before)) return;
      this.#known = { ...known, deletesItself, markedFor, stampsItself, userTriggers };
      this.#options.changed(this.#known);
    } catch (error) {
      // Calls that need the database tell when it does not answer.
      if (error instanceof InvalidOptionError) this.#warn(error.message);
    }
  }

  #warn(problem: string): void {
    if (problem === this.#warned) return;
    this.#warned = problem;
    if (problem === '') return;
    process.emitWarning(problem, { type: 'LockstepWarning', code: 'LOCKSTEP_CHANGES_UNSEEN' });
  }
}

/** True of the same columns, the same ones declared. */
export function isLike(info: TableInfo, known: TableInfo): boolean {
  return holds(info, known.columns) && holds(known, info.columns) && isDeclaredLike(info, known);
}

/** True where the same columns are declared, in the same sets. */
function isDeclaredLike({ declared }: TableInfo, known: TableInfo): boolean {
  const { tags, unique } = known.declared;
  return JSON.stringify([declared.unique, declared.tags]) === JSON.stringify([unique, tags]);
}

/** Empty: there is none. */
function problemOf({ oid, source, untruncated }: TableInfo, known: TableInfo): string {
  if (oid !== known.oid) {
    return `${source} is another table than the one that was opened: what is cached may be the old one's. Invalidate it, and open the store anew.`;
  }
  return untruncated.length === 0
    ? ''
    : `TRUNCATE of ${untruncated.join(', ')} is not recorded: attach ${source} again.`;
}
