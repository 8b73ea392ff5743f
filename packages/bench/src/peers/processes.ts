import { TURN_MS } from '../bursts/turn.js';
import { type CaseResult, caseOf, tableOf } from './figures.js';
import { GROUND, type GroundOptions, openGrounds } from './ground.js';
import type { SideName } from './sides.js';
import { figuresInTurns } from './turns.js';
import { kindsOf, Workforce } from './workforce.js';

export interface ProcessesOptions extends GroundOptions {
  readonly turns: number;
  readonly turnMs: number;
  /** Of each process. */
  readonly callers: number;
  readonly processes: readonly number[];
}

export const PROCESSES: ProcessesOptions = {
  ...GROUND,
  peers: ['by hand', 'bentocache'],
  limit: true,
  turns: 3,
  turnMs: TURN_MS,
  callers: 64,
  processes: [1, 2, 3, 4],
};

/** Hits and puts of several processes at once: of all of them together, in a second. */
export async function runProcesses(
  { callers, processes, turnMs, turns, ...ground }: ProcessesOptions,
  progress: (line: string) => void,
): Promise<Readonly<Record<string, CaseResult>>> {
  const result: Record<string, CaseResult> = {};
  const grounds = await openGrounds(ground);
  const sides = kindsOf(grounds.sides);
  const hired = { ...ground, place: grounds.place, names: Object.keys(sides) as SideName[] };
  let force: Workforce | undefined;
  try {
    await warm(Object.values(grounds.sides), ground.products);
    force = await Workforce.start(Math.max(...processes), hired);
    const started = force;
    for (const kind of ['get', 'put'] as const) {
      for (const count of processes) {
        const measured = await figuresInTurns(sides, turns, async ({ name: side }) => {
          const done = await started.do(count, (n) => ({
            ...{ kind, side, callers, ms: turnMs },
            from: Math.floor((n * ground.products) / count),
          }));
          return done.reduce((sum, { perSecond }) => sum + perSecond, 0);
        });
        const key = `${kind === 'get' ? 'hits' : 'puts'}, ${count} × ${callers} callers`;
        result[key] = caseOf('calls/s', 'more', measured);
        progress(tableOf(key, result[key]));
      }
    }
  } finally {
    await force?.end();
    await grounds.close();
  }
  return result;
}

/** Brings all rows into each side's cache. */
export async function warm(
  sides: readonly { get(id: string): Promise<unknown> }[],
  products: number,
): Promise<void> {
  for (const side of sides) {
    for (let from = 0; from < products; from += 200) {
      const length = Math.min(200, products - from);
      await Promise.all(Array.from({ length }, (_, i) => side.get(String(from + i))));
    }
  }
}
