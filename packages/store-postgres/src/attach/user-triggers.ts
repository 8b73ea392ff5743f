/** A trigger as the catalogue has it. */
export interface RawTrigger {
  readonly name: string;
  readonly type: number;
  readonly deferrable: boolean;
}

/** The changes that triggers of the user's may make to a row that a statement writes. */
export interface UserTriggers {
  /** Give it another key, or drop it, before it is written. */
  readonly before: boolean;
  /** Write it again once the statement has, or instead of deleting it. */
  readonly after: boolean;
  /** Do so as late as the commit. */
  readonly deferred: boolean;
  /** The triggers that change a row once it is stamped. */
  readonly late: readonly string[];
}

/** The bits of `tgtype`. */
const ROW = 1;
const BEFORE = 2;
const INSERT = 4;
const DELETE = 8;
const UPDATE = 16;

/** Triggers fire in the order of their names, by their bytes. */
export const STAMP = '~lockstep_stamp';

export function userTriggers(triggers: readonly RawTrigger[]): UserTriggers {
  const before = triggers.filter(({ type }) => (type & BEFORE) !== 0 && (type & ROW) !== 0);
  const after = triggers.filter(({ type }) => (type & BEFORE) === 0);
  const writing =
    (events: number) =>
    (trigger: RawTrigger): boolean =>
      (trigger.type & events) !== 0;
  const changing = before.filter(writing(INSERT | UPDATE));
  const following = after.filter(writing(INSERT | UPDATE | DELETE));
  return {
    before: changing.length > 0,
    after: following.length > 0 || before.some(writing(DELETE)),
    deferred: following.some(({ deferrable }) => deferrable),
    late: changing.flatMap(({ name }) =>
      Buffer.compare(Buffer.from(name), Buffer.from(STAMP)) > 0 ? name : [],
    ),
  };
}
