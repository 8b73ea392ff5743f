import { type CaseResult, caseOf, tableOf } from './figures.js';
import { GROUND, type GroundOptions, openGrounds } from './ground.js';
import type { SideName } from './sides.js';
import { inTurns, turnsOf } from './turns.js';
import { kindsOf, Workforce } from './workforce.js';

export interface StampedeOptions extends GroundOptions {
  readonly turns: number;
  /** Of each process. */
  readonly readers: number;
  readonly processes: readonly number[];
}

export const STAMPEDE: StampedeOptions = { ...GROUND, turns: 5, readers: 256, processes: [1, 4] };

/** By the number of processes: how often the database was asked, and how long all readers waited. */
export type StampedeResult = Readonly<Record<string, CaseResult>>;

/** How many readers of one cold key ask the database, in one process and in several. */
export async function runStampede(
  { processes, readers, turns, ...ground }: StampedeOptions,
  progress: (line: string) => void,
): Promise<StampedeResult> {
  const result: Record<string, CaseResult> = {};
  const grounds = await openGrounds(ground);
  const sides = kindsOf(grounds.sides);
  const hired = { ...ground, place: grounds.place, names: Object.keys(sides) as SideName[] };
  let force: Workforce | undefined;
  try {
    force = await Workforce.start(Math.max(...processes), hired);
    const started = force;
    let cold = 0;
    for (const count of processes) {
      const loads = turnsOf(sides);
      const waits = turnsOf(sides);
      await inTurns(sides, turns, async ({ name }, _, round) => {
        const id = String(++cold);
        await grounds.sides[name]?.evict(id);
        const done = await started.do(count, () => ({ kind: 'rush', side: name, id, readers }));
        if (round === 0) return;
        loads[name]?.figures.push(done.reduce((sum, each) => sum + each.loads, 0));
        waits[name]?.figures.push(Math.max(...done.map(({ ms }) => ms)));
      });
      for (const [what, unit, measured] of [
        ['loads', 'loads', loads],
        ['wait', 'ms', waits],
      ] as const) {
        const key = `${what}, ${count} × ${readers} readers`;
        result[key] = caseOf(unit, 'less', measured);
        progress(tableOf(key, result[key]));
      }
    }
  } finally {
    await force?.end();
    await grounds.close();
  }
  return result;
}
