import type { Kind } from './side.js';

/** The figures of each side's turns, the sides in the same order of turns. */
export type Turns = Record<string, { readonly kind: Kind; readonly figures: number[] }>;

export function turnsOf(sides: Readonly<Record<string, { readonly kind: Kind }>>): Turns {
  return Object.fromEntries(Object.entries(sides).map(([name, { kind }]) => [name, { kind, figures: [] }]));
}

/** Measures all sides in turn; each round begins with another end of their row. The first one, 0, warms up. */
export async function inTurns<Side>(
  sides: Readonly<Record<string, Side>>,
  turns: number,
  measure: (side: Side, name: string, round: number) => Promise<void>,
): Promise<void> {
  const names = Object.keys(sides);
  for (let round = 0; round <= turns; round++) {
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      await measure(sides[name] as Side, name, round);
    }
  }
}

/** As {@link inTurns}, of one figure of each side. */
export async function figuresInTurns<Side extends { readonly kind: Kind }>(
  sides: Readonly<Record<string, Side>>,
  turns: number,
  measure: (side: Side, round: number, name: string) => Promise<number>,
): Promise<Turns> {
  const measured = turnsOf(sides);
  await inTurns(sides, turns, async (side, name, round) => {
    const figure = await measure(side, round, name);
    if (round > 0) measured[name]?.figures.push(figure);
  });
  return measured;
}
