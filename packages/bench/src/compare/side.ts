import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { answerOf, letGo } from '../children.js';
import type { Answered, Asked, SuiteName, Used } from './suites.js';

/** One suite of one checkout, in a process of its own with servers of its own, which works only when it is asked to. */
export class Side {
  readonly scenarios: readonly string[];
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, scenarios: readonly string[]) {
    this.#child = child;
    this.scenarios = scenarios;
  }

  /** @param dist the folder of the built benchmark: its imports find the checkout's packages */
  static async start(dist: string, suite: SuiteName): Promise<Side> {
    const child = fork(join(dist, 'compare/measure.js'), [suite], {
      cwd: join(dist, '..'),
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    const { scenarios } = (await answerOf(child)) as Extract<Answered, { scenarios: unknown }>;
    return new Side(child, scenarios);
  }

  async turn(asked: Asked): Promise<Used> {
    this.#child.send(asked);
    return (await answerOf(this.#child)) as Used;
  }

  async end(): Promise<void> {
    await letGo(this.#child);
  }
}
