import { type CaseResult, caseOf, tableOf } from './figures.js';
import { GROUND, type GroundOptions, openGrounds } from './ground.js';

export interface StampedeOptions extends GroundOptions {
  readonly turns: number;
  readonly readers: number;
}

export const STAMPEDE: StampedeOptions = { ...GROUND, turns: 5, readers: 256 };

/** By the number of instances: how often the database was asked, and how long all readers waited. */
export type StampedeResult = Readonly<Record<string, CaseResult>>;

/** How many readers of one cold key ask the database, in one instance and in four, as so many processes have. */
export async function runStampede(
  options: StampedeOptions,
  progress: (line: string) => void,
): Promise<StampedeResult> {
  const result: Record<string, CaseResult> = {};
  for (const instances of [options.instances, options.instances * 4]) {
    const readers = options.readers * instances;
    const grounds = await openGrounds({ ...options, instances });
    try {
      const loads = turnsOf(grounds.sides);
      const waits = turnsOf(grounds.sides);
      for (let round = 0; round <= options.turns; round++) {
        const id = String(round + 1);
        const names = Object.keys(grounds.sides);
        for (const name of round % 2 === 0 ? names : names.toReversed()) {
          const side = grounds.sides[name] as (typeof grounds.sides)[string];
          await side.evict(id);
          side.takeLoads();
          const startedAt = performance.now();
          const rows = await Promise.all(Array.from({ length: readers }, () => side.get(id)));
          const waitedMs = performance.now() - startedAt;
          if (rows.some((row) => row?.id !== id))
            throw new Error(`${name}: a reader got another row, or none`);
          if (round === 0) continue;
          loads[name]?.figures.push(side.takeLoads());
          waits[name]?.figures.push(waitedMs);
        }
      }
      for (const [what, unit, turns] of [
        ['loads', 'loads', loads],
        ['wait', 'ms', waits],
      ] as const) {
        const key = `${what}, ${instances} × ${options.readers} readers`;
        result[key] = caseOf(unit, 'less', turns);
        progress(tableOf(key, result[key]));
      }
    } finally {
      await grounds.close();
    }
  }
  return result;
}

type Turns = Record<string, { readonly kind: 'ours' | 'peer' | 'limit'; readonly figures: number[] }>;

export function turnsOf(
  sides: Readonly<Record<string, { readonly kind: 'ours' | 'peer' | 'limit' }>>,
): Turns {
  return Object.fromEntries(Object.entries(sides).map(([name, { kind }]) => [name, { kind, figures: [] }]));
}
