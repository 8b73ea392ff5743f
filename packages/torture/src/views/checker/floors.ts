import type { Promised, State } from '../history.js';

/** The first state of a row that a read may show, and which write has promised that. */
export interface Floor {
  readonly state: number;
  readonly reason: string;
}

const NONE: Floor = { state: 0, reason: '' };

/**
 * What is promised to one view of one row. A write ends the tags of the values that it found and of those that it left: it
 * promises nothing to views that had the row only before. Those were left to whoever took it from them, which may have
 * been another program, or a writer that died (the relay's lag).
 */
export class Floors {
  readonly #endsUs: number[] = [];
  readonly #floors: Floor[] = [];

  /** @param shows whether the view shows the row in a state */
  constructor(states: readonly State[], promised: readonly Promised[], shows: (state: State) => boolean) {
    let floor = NONE;
    for (const each of [...promised].sort((a, b) => a.endUs - b.endUs)) {
      const state = stateOf(each, states);
      const isToldOf = states.slice(Math.max(0, state - 1), state + 1).some(shows);
      if (state > floor.state && isToldOf) {
        floor = { state, reason: `${each.call} ${each.token}@${each.version}, over at ${each.endUs}` };
      }
      this.#endsUs.push(each.endUs);
      this.#floors.push(floor);
    }
  }

  /** For a read that begins at that time. */
  at(startUs: number): Floor {
    let low = 0;
    let high = this.#endsUs.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#endsUs[middle] as number) < startUs) low = middle + 1;
      else high = middle;
    }
    return this.#floors[low - 1] ?? NONE;
  }
}

/** The number of the state that a write has made; 0 where that can't be told. */
function stateOf({ token, version }: Promised, states: readonly State[]): number {
  if (token !== null) {
    return Math.max(
      0,
      states.findIndex((state) => state.token === token),
    );
  }
  // A delete tells its version alone, and so it is known where it is the only one between two versions.
  const last = states.findLastIndex((state) => state.version > 0 && state.version < version);
  const next = states.findIndex((state) => state.version > version);
  const between = states.flatMap(({ token }, i) =>
    token === null && i > last && (next < 0 || i < next) ? [i] : [],
  );
  return between.length === 1 ? (between[0] as number) : 0;
}
