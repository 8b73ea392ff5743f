/**
 * The facts about a product that any process tells the checker.
 *
 * - `put`, `delete`: a write that was acknowledged as `updated` or `invalidated`: binding at once (G2)
 * - `late-put`, `late-delete`: a write of which nobody promised more than the relay's lag: acknowledged as
 *   `queued` or `deferred`, made by another program, or seen by a reader before its writer said so (G4, G6)
 * - `delete-begun`, `delete-ended`: around each delete, whose version nobody knows while it is under way
 */
export type FactKind = 'put' | 'delete' | 'late-put' | 'late-delete' | 'delete-begun' | 'delete-ended';

const KINDS = ['put', 'delete', 'late-put', 'late-delete', 'delete-begun', 'delete-ended'] as const;

/** One fact. `atMs` is of the machine's monotonic clock. */
export interface Fact {
  readonly kind: FactKind;
  readonly index: number;
  readonly version: number;
  readonly atMs: number;
  /** The list that the row is in, by a number: not below 0. */
  readonly group: number;
  /** The row's place in its list: the lowest comes first. */
  readonly rank: number;
}

/** The group of a row that is gone. */
export const NO_GROUP = -1;
/** The group where only the row's version is known. */
export const UNKNOWN_GROUP = -2;

const WIDTH = 6;

const UNLISTED = { group: UNKNOWN_GROUP, rank: 0 };

/** Facts on their way to other processes: six numbers each, in one array. */
export class FactBuffer {
  #numbers: number[] = [];

  add(
    kind: FactKind,
    index: number,
    version: number,
    atMs: number,
    { group, rank }: Pick<Fact, 'group' | 'rank'> = UNLISTED,
  ): void {
    this.#numbers.push(KINDS.indexOf(kind), index, version, atMs, group, rank);
  }

  /** The facts that were added since the last call. */
  take(): Float64Array {
    const taken = Float64Array.from(this.#numbers);
    this.#numbers = [];
    return taken;
  }
}

/** The facts of an array that `take` made. */
export function* factsOf(numbers: Float64Array): Generator<Fact> {
  for (let i = 0; i + WIDTH <= numbers.length; i += WIDTH) {
    yield {
      kind: KINDS[numbers[i] ?? 0] ?? 'put',
      index: numbers[i + 1] ?? 0,
      version: numbers[i + 2] ?? 0,
      atMs: numbers[i + 3] ?? 0,
      group: numbers[i + 4] ?? UNKNOWN_GROUP,
      rank: numbers[i + 5] ?? 0,
    };
  }
}
