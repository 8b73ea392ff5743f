import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { answerOf, letGo } from '../children.js';
import type { Kind } from './side.js';
import type { Place, SideName } from './sides.js';

/** What each process of a workforce is told when it starts. */
export interface Hired {
  readonly place: Place;
  readonly names: readonly SideName[];
  readonly products: number;
  readonly valueBytes: number;
}

/** Many readers of one key, at once. */
export interface Rush {
  readonly kind: 'rush';
  readonly side: string;
  readonly id: string;
  readonly readers: number;
}

/** Callers that read or write rows for a while, each its next when its last has returned. */
export interface Shift {
  readonly kind: 'get' | 'put';
  readonly side: string;
  readonly callers: number;
  readonly ms: number;
  /** Where it begins in the sequence of keys. */
  readonly from: number;
}

export type Task = Rush | Shift;

export interface Done {
  readonly perSecond: number;
  readonly ms: number;
  /** Rows read from the table. */
  readonly loads: number;
}

/** Processes with all sides open in each, which do the same task at the same time. */
export class Workforce {
  readonly #children: readonly ChildProcess[];

  private constructor(children: readonly ChildProcess[]) {
    this.#children = children;
  }

  static async start(count: number, hired: Hired): Promise<Workforce> {
    // The built file: a test runs this one from the sources, where Node would find no other.
    const file = fileURLToPath(new URL('../../dist/peers/workforce-process.js', import.meta.url));
    const children = Array.from({ length: count }, () =>
      fork(file, [JSON.stringify(hired)], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] }),
    );
    const force = new Workforce(children);
    try {
      await Promise.all(children.map(answerOf));
    } catch (error) {
      await force.end();
      throw error;
    }
    return force;
  }

  /** Has the first `count` processes do it. */
  async do(count: number, taskOf: (process: number) => Task): Promise<Done[]> {
    return await Promise.all(
      this.#children.slice(0, count).map(async (child, n) => {
        const answer = answerOf(child);
        child.send(taskOf(n));
        const done = (await answer) as Done | { readonly error: string };
        if ('error' in done) throw new Error(done.error);
        return done;
      }),
    );
  }

  async end(): Promise<void> {
    await Promise.all(this.#children.map(letGo));
  }
}

/** Sides by name, for turns. */
export function kindsOf(
  sides: Readonly<Record<string, { readonly kind: Kind }>>,
): Record<string, { readonly kind: Kind; readonly name: string }> {
  return Object.fromEntries(Object.entries(sides).map(([name, { kind }]) => [name, { kind, name }]));
}
